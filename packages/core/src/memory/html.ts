/**
 * The report as one page that needs nothing else and runs no script: stacked areas over time, the peak, the tables. Hovering over
 * the picture gives the figures of a moment. System colors and opacity make it light or dark.
 */
import { categories, gpuNote, keys, type MemoryData, type MemoryPoint, percentOf, tables, type Unit, unitFor } from './data.ts';

export interface HtmlOptions {
  /** @default 'Training memory' */
  readonly title?: string;
  /** Another report, drawn before this one on the same scale. */
  readonly compare?: MemoryData;
  /** What the panels are called: this report, then `compare`. */
  readonly labels?: readonly [string, string];
}

const W = 640;
const H = 280;
const colors = ['#64748b', '#8b5cf6', '#f59e0b', '#10b981', '#38bdf8'];
const safe = (text: string) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

const css = `:root{color-scheme:light dark;font:15px/1.5 system-ui}body{max-width:1360px;margin:40px auto;padding:0 24px}
main{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:20px}section{border:1px solid #8884;border-radius:12px;padding:22px}
small,text,tr:first-child{font-size:13px;font-weight:400;opacity:.7}h1,h2{margin:0}h2{font-size:32px}svg{width:100%;margin:14px 0;overflow:visible}
text,line,circle{fill:CanvasText;stroke-width:0}line{stroke:CanvasText;stroke-width:1}a{fill:#0000}a:hover{fill:#8886}
table{border-collapse:collapse;width:100%;margin-top:14px;font-variant-numeric:tabular-nums}td{padding:5px 0 5px 14px;text-align:right;border-top:1px solid #8883}
tr:first-child td{border:0}td:first-child{padding-left:0;text-align:left;overflow-wrap:anywhere}i{float:left;width:11px;height:11px;border-radius:3px;margin:6px 9px 0 0}`;

/**
 * @example
 * writeFileSync('memory.html', memory.toHTML({ title: 'MobileNetV2', compare: stock, labels: ['LeanTune', 'stock tfjs'] }));
 */
export function memoryPage(
  data: MemoryData,
  { title = 'Training memory', compare, labels = ['this run', 'compared'] }: HtmlOptions = {},
): string {
  const top = Math.max(data.peakBytes, compare?.peakBytes ?? 0, 1);
  const note = compare ? `${labels[0]} peaks at ${percentOf(data.peakBytes, compare.peakBytes)} % of ${labels[1]}. ` : '';
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${safe(title)}</title><style>${css}</style>
<h1>${safe(title)}</h1><p>${safe(note)}Every buffer counts once.</p><main>${compare ? panel(compare, labels[1], top) : ''}${panel(data, compare ? labels[0] : '', top)}</main>`;
}

function panel(data: MemoryData, label: string, top: number): string {
  const unit = unitFor(top);
  const legend = (table: number, i: number) => (table < 1 && i && colors[i - 1] ? `<i style="background:${colors[i - 1]}"></i>` : '');
  const html = tables(data, unit).map((rows, t) =>
    rows.map((cells, i) => `<tr><td>${legend(t, i)}${cells.map(safe).join('<td>')}`).join(''),
  );
  return `<section>${safe(label)}<h2>${unit.size(data.peakBytes)} <small>peak on ${safe(data.backend)}, ${unit.size(data.peakAboveWeights)} above weights</small></h2>
${chart(data, top, unit)}<table>${html.join('</table><table>')}</table>${gpuNote(data, unit)}</section>`;
}

function chart({ timeline, peakBytes }: MemoryData, top: number, { name, format, size }: Unit): string {
  const start = timeline[0]?.ms ?? 0;
  const seconds = (p?: MemoryPoint) => ((p ? p.ms - start : 0) / 1000).toFixed(2);
  const span = (timeline.at(-1)?.ms ?? 0) - start || 1;
  const x = (p?: MemoryPoint) => (p ? +(((p.ms - start) / span) * W).toFixed(1) : W);
  const y = (bytes: number) => +(H - (bytes / top) * H).toFixed(1);
  /** Bytes of the categories up to the i-th: each area reaches down to zero, the smaller are painted over the larger. */
  const stacked = (p: MemoryPoint, i: number) => keys.slice(0, i + 1).reduce((sum, key) => sum + p[key], 0);
  const area = (color: string, i: number) =>
    `<path fill="${color}" d="M0 ${H}${timeline.map((p) => `H${x(p)}V${y(stacked(p, i))}`).join('')}H${W}V${H}"/>`;
  const hover = timeline.map((p, i) => {
    const figures = keys.map((key) => `${categories[key]} ${size(p[key])}`);
    return `<a><path d="M${x(p)} 0V${H}H${x(timeline[i + 1])}V0"/><title>${[`${seconds(p)} s`, ...figures].join('\n')}</title></a>`;
  });
  const text = (at: number, height: number, words: string, anchor = 'middle') =>
    `<text x="${at}" y="${height}" text-anchor="${anchor}">${words}</text>`;
  const line = (height: number, style: string) => `<line y1="${height}" x2="${W}" y2="${height}" ${style}/>`;
  // The largest of 1, 2, 5 × 10ⁿ that gives three lines or more.
  const power = 10 ** Math.floor(Math.log10(top / 3));
  const step = power * ([5, 2].find((n) => top / n / power >= 3) ?? 1);
  const grid = Array.from(
    { length: top / step + 1 },
    (_, i) => line(y(i * step), 'opacity=".2"') + text(-8, y(i * step) + 4, `${+format(i * step)}`, 'end'),
  );
  const at = x(timeline.find((p) => stacked(p, 4) === peakBytes));
  const peak = y(peakBytes);
  return `<svg viewBox="-44 -26 ${W + 48} ${H + 48}" role="img" aria-label="Bytes over time">${grid.join('')}${colors.map(area).reverse().join('')}${line(peak, 'stroke-dasharray="3 4"')}
<circle cx="${at}" cy="${peak}" r="4"/>${text(Math.min(Math.max(at, 50), W - 50), peak - 8, `peak ${size(peakBytes)}`)}
${text(0, H + 18, '0', 'start')}${text(W, H + 18, `${seconds(timeline.at(-1))} s`, 'end')}${text(-8, -10, name, 'end')}${hover.join('')}</svg>`;
}
