/** What products share in WGSL: the entry point, and sums in named accumulators, which compilers keep in registers. */

/** Of a thread; multiples of four. */
export interface Sums {
  readonly rows: number;
  readonly columns: number;
}

const overAll = ({ rows, columns }: Sums, f: (row: number, four: number) => string): string =>
  Array.from({ length: (rows * columns) / 4 }, (_, i) => f(Math.floor(i / (columns / 4)), i % (columns / 4))).join(' ');

export const declareSums = (sums: Sums): string => overAll(sums, (i, c) => `var acc${i}_${c} = vec4f();`);

/** Adds the outer product of a column and a row: `a` gives the value of a row, `b` names its block of four columns. */
export const addOuter = (sums: Sums, a: (row: number) => string, b: (block: number) => string): string =>
  overAll(sums, (i, c) => `acc${i}_${c} = fma(vec4f(${a(i)}), ${b(c)}, acc${i}_${c});`);

/** @param column WGSL of the first column of a block of four */
export const putSums = (sums: Sums, row: string, column: (block: number) => string): string =>
  overAll(sums, (i, c) => `put(${row} + ${i}, ${column(c)}, z, acc${i}_${c});`);

/** The entry point. Names the tile of c, `tileM` and `tileN`, and the product that it is of, `z`. */
export const entry = (threads: number, builtins: string, body: string): string => `
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32${builtins}) {
  let index = flat(group, groups);
  let tileN = index % u.tilesN; let tileM = (index / u.tilesN) % u.tilesM; let z = index / (u.tilesN * u.tilesM);
  if (z >= u.depth) { return; }
  ${body}
}`;
