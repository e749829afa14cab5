/** What LaMDA++ chose, to look at before training: a table, and a page with every spectrum and where it is cut. */
import { type Budget, capturedEnergy, type Spectrum } from './allocate.ts';

/** Which layer gets which rank, and why. `String(plan)` is a table. */
export interface RankPlan {
  readonly ranks: { readonly [site: string]: number };
  readonly spectra: readonly Spectrum[];
  /** Numbers that train at the start, and those that still do when B is frozen. */
  readonly trainable: { readonly start: number; readonly end: number };
  /** A table: site, shape, rank, captured energy. */
  toString(): string;
  /** A page with a picture per site. */
  toHTML(): string;
}

export function rankPlan(ranks: RankPlan['ranks'], spectra: readonly Spectrum[], { averageRank = 8, budget }: Budget): RankPlan {
  const rankOf = ({ site }: Spectrum) => ranks[site]!;
  const end = spectra.reduce((sum, one) => sum + rankOf(one) ** 2, 0);
  const start = spectra.reduce((sum, one) => sum + rankOf(one) * one.dOut, end);
  const goal = budget === undefined ? `average rank ${averageRank}` : `budget of ${budget.toLocaleString('en')}`;
  const title = `${goal}: ${start.toLocaleString('en')} train at first, ${end.toLocaleString('en')} in the end`;
  const rows = spectra.map((one) => [
    one.site,
    `${one.dIn} x ${one.dOut}`,
    `${rankOf(one)}`,
    `${(100 * capturedEnergy(one, rankOf(one))).toFixed(1)} %`,
  ]);
  return {
    ranks,
    spectra,
    trainable: { start, end },
    toString: () => [title, ...aligned([['site', 'kernel', 'rank', 'energy'], ...rows])].join('\n'),
    toHTML: () => page(title, spectra, rankOf),
  };
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd(),
  );
}

const escaped = (text: string): string => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

function page(title: string, spectra: readonly Spectrum[], rankOf: (one: Spectrum) => number): string {
  const pictures = spectra.map((one) => {
    const rank = rankOf(one);
    const label = `${one.site}: rank ${rank}, ${(100 * capturedEnergy(one, rank)).toFixed(1)} % of the energy`;
    return `<figure>${picture(one, rank)}<figcaption>${escaped(label)}</figcaption></figure>`;
  });
  const style =
    'body{font:14px system-ui;margin:2rem}main{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;width:220px}svg{width:100%;border-bottom:1px solid #999}figcaption{overflow-wrap:anywhere}';
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Ranks</title><style>${style}</style><h1>${escaped(title)}</h1><p>Each bar is a singular value, next to the largest; the blue ones are kept.</p><main>${pictures.join('')}</main></html>\n`;
}

/** The singular values as bars, those within the rank in blue. */
function picture({ sigma }: Spectrum, rank: number): string {
  const width = 220 / sigma.length;
  const bars = Array.from(sigma, (value, i) => {
    const height = sigma[0]! > 0 ? (80 * value) / sigma[0]! : 0;
    return `<rect x="${(i * width).toFixed(2)}" y="${(80 - height).toFixed(2)}" width="${(0.9 * width).toFixed(2)}" height="${height.toFixed(2)}" fill="${i < rank ? '#1769aa' : '#bbb'}"/>`;
  });
  return `<svg viewBox="0 0 220 80" role="img">${bars.join('')}</svg>`;
}
