/** Net joules of every configuration with their intervals and runs, as an SVG that needs nothing else. */
import type { EnergyComparison } from '@leantune/energy';

const ROW = 26;
const [LEFT, WIDTH, TOP] = [300, 460, 44];

export function energyPlot({ configurations }: EnergyComparison): string {
  const rows = Object.entries(configurations);
  const values = rows.flatMap(([, { net, runs }]) => [...net.interval, ...runs.map((run) => run.net)]).filter(Number.isFinite);
  const [low, high] = [Math.min(0, ...values), Math.max(...values)];
  const x = (joules: number): string => (LEFT + (WIDTH * (joules - low)) / (high - low || 1)).toFixed(1);
  const height = TOP + ROW * rows.length + 40;
  const bottom = TOP + ROW * rows.length;
  const ticks = Array.from({ length: 6 }, (_, i) => low + ((high - low) * i) / 5);
  const estimated = rows.some(([, { meters }]) => meters.some((meter) => meter.estimated));
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${LEFT + WIDTH + 30}" height="${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
<text x="12" y="22" font-size="15">Net joules of training${estimated ? ', in part estimated' : ''}; runs, mean and 95 % interval</text>
${ticks.map((tick) => `<path d="M${x(tick)} ${TOP - 8}V${bottom}" stroke="#ddd"/><text x="${x(tick)}" y="${bottom + 18}" text-anchor="middle">${tick.toPrecision(3)}</text>`).join('\n')}
${rows
  .map(([name, { net, runs }], i) => {
    const y = TOP + ROW * (i + 0.5);
    const interval = net.interval.every(Number.isFinite)
      ? `<path d="M${x(net.interval[0])} ${y}H${x(net.interval[1])}" stroke="#1b6ca8" stroke-width="2"/>`
      : '';
    const dots = runs.map((run) => `<circle cx="${x(run.net)}" cy="${y}" r="2.5" fill="#999" fill-opacity="0.6"/>`).join('');
    return `<text x="${LEFT - 10}" y="${y + 4}" text-anchor="end">${name}</text>${dots}${interval}<circle cx="${x(net.mean)}" cy="${y}" r="4.5" fill="#1b6ca8"/>`;
  })
  .join('\n')}
</svg>
`;
}
