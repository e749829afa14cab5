/** What the ways came to, side by side: bars of characters for the terminal, and of SVG for a file. */

export interface Outcome {
  readonly name: string;
  /** Of a step, above the weights. Bytes. */
  readonly peak: number;
  /** Share of right answers, and how long training took. */
  readonly accuracy: number;
  readonly seconds: number;
}

const axes = [
  {
    title: 'peak of a step above the weights',
    of: ({ peak }: Outcome) => peak,
    text: ({ peak }: Outcome) => `${(peak / 1e6).toFixed(1)} MB`,
  },
  { title: 'time to fine-tune', of: ({ seconds }: Outcome) => seconds, text: ({ seconds }: Outcome) => `${seconds.toFixed(1)} s` },
  {
    title: 'validation accuracy',
    of: ({ accuracy }: Outcome) => accuracy,
    text: ({ accuracy }: Outcome) => `${(100 * accuracy).toFixed(1)} %`,
  },
] as const;

const most = (outcomes: readonly Outcome[], of: (outcome: Outcome) => number): number => Math.max(...outcomes.map(of));

export function textBars(outcomes: readonly Outcome[]): string {
  const width = Math.max(...outcomes.map(({ name }) => name.length));
  return axes
    .map(({ title, of, text }) => {
      const lines = outcomes.map((outcome) => {
        const bar = '█'.repeat(Math.max(1, Math.round((40 * of(outcome)) / most(outcomes, of))));
        return `  ${outcome.name.padEnd(width)}  ${bar} ${text(outcome)}`;
      });
      return [title, ...lines].join('\n');
    })
    .join('\n\n');
}

const [ROW, LEFT, WIDTH] = [30, 240, 420];
const fills = ['#8b95a5', '#a78bfa', '#7c3aed'];

export function svgBars(outcomes: readonly Outcome[]): string {
  const height = 46 + ROW * outcomes.length;
  const parts = axes.map(({ title, of, text }, axis) => {
    const top = 20 + axis * height;
    const rows = outcomes.map((outcome, i) => {
      const [y, length] = [top + 16 + i * ROW, (WIDTH * of(outcome)) / most(outcomes, of)];
      return `<text x="${LEFT - 12}" y="${y + 16}" text-anchor="end">${outcome.name}</text><rect x="${LEFT}" y="${y}" width="${length.toFixed(1)}" height="22" rx="4" fill="${fills[i]}"/><text x="${(LEFT + length + 8).toFixed(1)}" y="${y + 16}" font-weight="600">${text(outcome)}</text>`;
    });
    return `<text x="${LEFT}" y="${top}" font-size="13" opacity=".7">${title}</text>\n${rows.join('\n')}`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${LEFT + WIDTH + 100} ${axes.length * height}" font-family="system-ui,sans-serif" font-size="14">
<style>svg{background:#fff;fill:#1f2430}@media(prefers-color-scheme:dark){svg{background:#14161b;fill:#e6e8ee}}</style>
${parts.join('\n')}
</svg>
`;
}
