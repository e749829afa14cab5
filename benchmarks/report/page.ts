/** docs/results.html: all pictures and figures on one page that needs nothing else and runs no script; light or dark as the reader has it. */
import type { Accuracies } from '../compare/accuracy.ts';
import { type Comparison, peakRatio } from './figures.ts';
import { accuracyPlot } from './plots/accuracy.ts';
import { digits, leverPlot, parts } from './plots/levers.ts';
import { engines, peerPlot, sharePlot } from './plots/peers.ts';
import { timelinePlot } from './plots/timeline.ts';
import { timePlot } from './plots/times.ts';
import { type Color, color, colors, plot } from './svg.ts';

const css = `${colors(':root')}
:root{color-scheme:light dark;font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
body{max-width:1440px;margin:0 auto;padding:40px 28px 80px}h1{font-size:40px;line-height:1.15;margin:0 0 8px;letter-spacing:-.02em}
h2{font-size:26px;margin:64px 0 6px;letter-spacing:-.01em}p{max-width:74ch;margin:0 0 14px}.lead{font-size:19px;opacity:.85}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(220px,1fr));gap:14px;margin:28px 0 0}
.card{border:1px solid var(--faint);border-radius:14px;padding:16px 18px}.card b{display:block;font-size:30px;line-height:1.15;letter-spacing:-.02em}
.card small{opacity:.75}.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,600px),1fr));gap:18px;margin-top:18px}
figure{margin:0;border:1px solid var(--faint);border-radius:14px;padding:16px 16px 10px;min-width:0}svg{max-width:100%;height:auto;overflow:visible}
ul.key{list-style:none;padding:0;margin:10px 0 0;display:flex;flex-wrap:wrap;gap:6px 20px;font-size:14px}
.key i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:7px;vertical-align:-1px}
code{font:14px ui-monospace,monospace;background:color-mix(in srgb,var(--faint) 50%,transparent);padding:2px 6px;border-radius:6px}`;

interface Section {
  readonly title: string;
  readonly text: string;
  readonly key: string;
  readonly figures: readonly string[];
}

const keyOf = (entries: readonly (readonly [Color, string])[]): string =>
  `<ul class="key">${entries.map(([name, label]) => `<li><i style="background:${color(name)}"></i>${label}</li>`).join('')}</ul>`;

const timelineKey = keyOf([
  ['stock', 'stock tfjs'],
  ['leantune', 'the tape'],
  ...parts.map(([part, label]) => [part, `all levers: ${label}`] as const),
]);

function accuracySection(known: Accuracies): Section {
  const text = `MiniLM on ${known.data}: the same examples in the same order for every method. Up and to the left is better. Small dots are seeds.`;
  return { title: 'Accuracy against memory', text, key: keyOf(engines.slice(1, 3)), figures: [plot(accuracyPlot(known))] };
}

function sectionsOf(all: readonly Comparison[], known: Accuracies | undefined): readonly Section[] {
  const each = (draw: (comparison: Comparison) => Parameters<typeof plot>[0]): string[] => all.map((comparison) => plot(draw(comparison)));
  return [
    {
      title: 'Each lever on top of the last',
      text: 'One training step, its peak above the weights. Every row keeps what the rows above brought. From LaMDA on, adapters of rank 8 and the head train; before, everything does.',
      ...{ key: keyOf(parts), figures: each(leverPlot) },
    },
    {
      title: 'A step from its first kernel to its last',
      text: 'What lives above the weights as the step goes on. Stock tfjs frees nothing before its backward pass is over.',
      ...{ key: timelineKey, figures: each(timelinePlot) },
    },
    ...(known ? [accuracySection(known)] : []),
    {
      title: 'Beside the others',
      text: 'The same definition for all: the most bytes above the weights in one step of SGD on one batch.',
      ...{ key: keyOf(engines), figures: each(peerPlot) },
    },
    {
      title: 'Few trained parameters are not enough',
      text: 'Both axes are logarithmic. What waits for backward decides, not what trains: an adapter alone hardly moves a peak.',
      ...{ key: keyOf(engines), figures: each(sharePlot) },
    },
    {
      title: 'Time',
      text: 'Time of the processor, over that of full training with stock tfjs on the same backend, or with the peer itself. The dashed line is 1.',
      ...{ key: keyOf(engines), figures: each(timePlot) },
    },
  ];
}

const html = ({ title, text, key, figures }: Section): string =>
  `<h2>${title}</h2><p>${text}</p>${key}<div class="grid">${figures.map((svg) => `<figure>${svg}</figure>`).join('\n')}</div>`;

export function reportPage(all: readonly Comparison[], known: Accuracies | undefined): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>LeanTune, measured</title><style>${css}</style>
<body><h1>LeanTune, measured</h1><p class="lead">What fine-tuning takes above the weights: stock TensorFlow.js, LeanTune, and the others, each on one machine by one command, <code>npm run bench</code>. Tables, versions and how it is measured: <a href="results.md">results.md</a>.</p>
<div class="cards">${all.map(card).join('')}</div>
${sectionsOf(all, known).map(html).join('\n')}</body></html>
`;
}

function card(comparison: Comparison): string {
  const { contest, levers } = comparison;
  const stock = levers[0]!;
  const least = levers.reduce((a, b) => (b.outcome.peakAboveWeights < a.outcome.peakAboveWeights ? b : a));
  const mb = ({ outcome }: typeof stock): string => `${digits(outcome.peakAboveWeights / 1e6)} MB`;
  return `<div class="card"><small>${contest.title}</small><b>${(1 / peakRatio(comparison, least)).toFixed(1)}× less</b>${mb(stock)} → ${mb(least)}</div>`;
}
