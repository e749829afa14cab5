/** What products share in WGSL: the entry point, and sums in named accumulators, which compilers keep in registers. */

/** Of a thread; multiples of four. */
export interface Sums {
  readonly rows: number;
  readonly columns: number;
  /** What the accumulators' names begin with. @default 'acc' */
  readonly name?: string;
}

/** What `f` makes of each accumulator, a block of four columns of a row. */
export const overSums = ({ rows, columns, name = 'acc' }: Sums, f: (sum: string, row: number, block: number) => string): string =>
  Array.from({ length: (rows * columns) / 4 }, (_, at) => {
    const [row, block] = [Math.floor(at / (columns / 4)), at % (columns / 4)];
    return f(`${name}${row}_${block}`, row, block);
  }).join(' ');

export const declareSums = (sums: Sums): string => overSums(sums, (sum) => `var ${sum} = vec4f();`);

/** Adds the outer product of a column and a row: `a` gives the value of a row, `b` names its block of four columns. */
export const addOuter = (sums: Sums, a: (row: number) => string, b: (block: number) => string): string =>
  overSums(sums, (sum, row, block) => `${sum} = fma(vec4f(${a(row)}), ${b(block)}, ${sum});`);

/** @param column WGSL of the first column of a block of four */
export const putSums = (sums: Sums, row: string, column: (block: number) => string): string =>
  overSums(sums, (sum, i, block) => `put(${row} + ${i}, ${column(block)}, z, ${sum});`);

/** The entry point. Names the tile of c, `tileM` and `tileN`, and the product that it is of, `z`. */
export const entry = (threads: number, builtins: string, body: string): string => `
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32${builtins}) {
  let index = flat(group, groups);
  let tileN = index % u.tilesN; let tileM = (index / u.tilesN) % u.tilesM; let z = index / (u.tilesN * u.tilesM);
  if (z >= u.depth) { return; }
  ${body}
}`;
