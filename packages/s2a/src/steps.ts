/**
 * A step function q that stands for a derivative: x waits as the number of its step.
 *
 *   minimize ∫ (f'(x) − q(x))² w(x) dx,  q of 2^bits levels        dx = q(x) · dy
 *
 * Two readings of "quantize activations based on their derivatives" (S2A, arXiv 2503.08154, whose own formula is not public):
 *   interval   q is constant on 2^bits intervals of x, as in Few-Bit Backward (arXiv 2202.00441)
 *   value      q(x) is the nearest of 2^bits values of f'. Two x with one slope share a level, so it is never worse
 * Both are optimal here, by dynamic programming over a grid of x, in order of x or of f'(x). One table serves both: borders in x, and
 * the code of each interval between them, so that forward evaluates no derivative. Borders are moved by up to 1/256 of
 * themselves to bfloat16 values: a backend may look a code up by the upper half of x.
 */

/** x → codes[borders below x] → levels[code]. */
export interface Steps {
  readonly borders: readonly number[];
  readonly codes: readonly number[];
  readonly levels: readonly number[];
  readonly bits: number;
}

/** What x are told apart by, for a code: the interval that x lies in, or the slope there. */
export type Reading = 'interval' | 'value';
/** Density of x, up to a factor. */
export type Weight = (x: number) => number;

const REACH = 12;
const CELLS = 1000;
const WIDTH = (2 * REACH) / CELLS;
const grid = Array.from({ length: CELLS }, (_, i) => -REACH + (i + 0.5) * WIDTH);

/**
 * Normal values, and one part in fifty anywhere in [-12, 12]: fits what activations are, and stays right far out. Fitted to a normal
 * distribution alone, a table of GELU gives −0.1 at −10, where the derivative is 0.
 */
export const usual: Weight = (x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI) + 0.02 / (2 * REACH);

/** Exact steps, such as ReLU's: `levels` between rising `borders`; a border belongs to the interval below. */
export const exactSteps = (borders: readonly number[], levels: readonly number[]): Steps => {
  const values = [...new Set(levels)];
  return { borders, codes: levels.map((level) => values.indexOf(level)), levels: values, bits: values.length > 2 ? 2 : 1 };
};

/** The best steps for a derivative. `levels` beyond 16 are spaced evenly, which no weighting would improve on noticeably. */
export function fitSteps(derivative: (x: number) => number, bits: number, reading: Reading = 'value', weight: Weight = usual): Steps {
  const slopes = grid.map(derivative);
  const weights = grid.map(weight);
  const count = 2 ** bits;
  if (reading === 'interval' && bits <= 4) {
    const { starts, means } = partition(slopes, weights, count);
    const borders = starts.slice(1).map((i) => -REACH + i * WIDTH);
    return onEdges({ borders, codes: means.map((_, i) => i), levels: means, bits });
  }
  return onEdges(nearest(derivative, bits > 4 ? even(slopes, count) : polish(byValue(slopes, weights, count), derivative, weight), bits));
}

/** Moves each border to where the upper half of a float32 changes, the nearest bfloat16. Of those that meet the last stays. */
function onEdges({ borders, codes, ...rest }: Steps): Steps {
  const edges = borders.map((border) => {
    const bits = new Int32Array(Float32Array.of(Math.abs(border) < TINY ? TINY : border).buffer)[0]!;
    const nearest = (bits + 0x8000) & -0x10000; // of a number above 0 the last float32 before it, as a border itself belongs below
    return new Float32Array(Int32Array.of(nearest - Number(nearest > 0)).buffer)[0]!;
  });
  const stays = (i: number) => edges[i] !== edges[i + 1];
  return { ...rest, borders: edges.filter((_, i) => stays(i)), codes: codes.filter((_, i) => i === 0 || edges[i - 1] !== edges[i]) };
}

/** Stands for zero, where the two signs have halves of their own. */
const TINY = 2 ** -100;

function byValue(slopes: readonly number[], weights: readonly number[], count: number): readonly number[] {
  const order = [...slopes.keys()].sort((a, b) => slopes[a]! - slopes[b]!);
  const at = (values: readonly number[]) => order.map((i) => values[i]!);
  return partition(at(slopes), at(weights), count).means;
}

/** Lloyd's iteration on a grid 16 times as fine: levels move to the means of what is nearest to them. Rounds off the grid of the partition. */
function polish(levels: readonly number[], derivative: (x: number) => number, weight: Weight): readonly number[] {
  const xs = Array.from({ length: 16 * CELLS }, (_, i) => -REACH + (i + 0.5) * (WIDTH / 16));
  const [slopes, weights] = [xs.map(derivative), xs.map(weight)];
  let means = levels;
  for (let pass = 0; pass < 20; pass++) {
    const [sums, totals] = [means.map(() => 0), means.map(() => 0)];
    const middles = means.slice(1).map((level, i) => (level + means[i]!) / 2);
    slopes.forEach((slope, i) => {
      let code = 0;
      while (code < middles.length && slope > middles[code]!) code++;
      sums[code]! += weights[i]! * slope;
      totals[code]! += weights[i]!;
    });
    means = means.map((level, i) => (totals[i]! > 0 ? sums[i]! / totals[i]! : level));
  }
  return means;
}

function even(slopes: readonly number[], count: number): readonly number[] {
  const [low, high] = [Math.min(...slopes), Math.max(...slopes)];
  return Array.from({ length: count }, (_, i) => low + ((high - low) * i) / (count - 1));
}

/** Cuts a sequence into `count` stretches with the least sum of w (v − mean of the stretch)²: exact, O(count · n²). */
function partition(values: readonly number[], weights: readonly number[], count: number): { starts: number[]; means: number[] } {
  const n = values.length;
  const [sumW, sumV, sumSquares] = [new Float64Array(n + 1), new Float64Array(n + 1), new Float64Array(n + 1)];
  values.forEach((v, i) => {
    const w = weights[i]!;
    sumW[i + 1] = sumW[i]! + w;
    sumV[i + 1] = sumV[i]! + w * v;
    sumSquares[i + 1] = sumSquares[i]! + w * v * v;
  });
  const cost = (from: number, to: number) => {
    const v = sumV[to]! - sumV[from]!;
    return sumSquares[to]! - sumSquares[from]! - (v * v) / (sumW[to]! - sumW[from]!);
  };
  let best = Float64Array.from({ length: n + 1 }, (_, to) => (to === 0 ? 0 : cost(0, to)));
  const cuts: Int32Array[] = [];
  for (let k = 1; k < count; k++) {
    const [next, cut] = [new Float64Array(n + 1).fill(Number.POSITIVE_INFINITY), new Int32Array(n + 1)];
    for (let to = k + 1; to <= n; to++)
      for (let from = k; from < to; from++) {
        const total = best[from]! + cost(from, to);
        if (total < next[to]!) [next[to], cut[to]] = [total, from];
      }
    best = next;
    cuts.push(cut);
  }
  const starts: number[] = [];
  for (let k = count - 2; k >= 0; k--) starts.unshift(cuts[k]![starts[0] ?? n]!);
  starts.unshift(0);
  const means = starts.map((from, k) => (sumV[starts[k + 1] ?? n]! - sumV[from]!) / (sumW[starts[k + 1] ?? n]! - sumW[from]!));
  return { starts, means };
}

/** Steps that give each x the nearest level: a border wherever f' passes the middle between two. */
function nearest(derivative: (x: number) => number, levels: readonly number[], bits: number): Steps {
  const codeAt = (x: number) => {
    const slope = derivative(x);
    let code = 0;
    for (let i = 1; i < levels.length; i++) if (Math.abs(levels[i]! - slope) < Math.abs(levels[code]! - slope)) code = i;
    return code;
  };
  const [borders, codes] = [[] as number[], [codeAt(-REACH)]];
  let before = -REACH;
  for (let i = 1; i <= 8 * CELLS; i++) {
    const x = -REACH + (i * WIDTH) / 8;
    const code = codeAt(x);
    if (code !== codes.at(-1)) {
      let [low, high] = [before, x];
      for (let halving = 0; halving < 20; halving++) {
        const middle = (low + high) / 2;
        if (codeAt(middle) === codes.at(-1)) low = middle;
        else high = middle;
      }
      borders.push(low);
      codes.push(code);
    }
    before = x;
  }
  return { borders, codes, levels, bits };
}
