/** The tables of docs/guides/transformers.md, from transformers/results. */
import { existsSync } from 'node:fs';
import { at, markdownTable, megabytes, readJson, type Table } from '../documents.ts';
import type { AttentionResult } from './attention.ts';
import type { StorageResult } from './storage.ts';

const file = '../docs/guides/transformers.md';
const result = (name: string): string => `transformers/results/${name}.json`;

export const tables: readonly Table[] = [
  { file, marker: 'attention', text: attentionTable },
  { file, marker: 'storage', text: storageTable },
];

function attentionTable(): string {
  const all = ['tensorflow', 'webgpu']
    .filter((backend) => existsSync(at(result(`attention-${backend}`))))
    .map((backend) => readJson<AttentionResult>(result(`attention-${backend}`)));
  const rows = all[0]!.rows.map(({ tokens }, i) => [
    `${tokens}`,
    ...all.flatMap(({ rows: own }) => {
      const { ours, plain } = own[i]!;
      return [plain ? megabytes(plain.peak) : '–', megabytes(ours.peak), megabytes(ours.kept)];
    }),
  ]);
  const head = ['tokens', ...all.flatMap(({ backend }) => [`${backend}: plain, MB`, 'here', 'of it kept'])];
  const { heads, headSize } = all[0]!;
  const commands = all.map(({ command }) => `\`${command}\``).join(', ');
  return `${markdownTable(head, rows)}\n\nBytes above q, k and v in a training step of one causal layer of ${heads} heads of ${headSize}: ${commands}.`;
}

function storageTable(): string {
  if (!existsSync(at(result('storage')))) return '';
  const { command, tokens, calibrationTokens, batch, rows } = readJson<StorageResult>(result('storage'));
  const [float] = rows as [StorageResult['rows'][number]];
  const change = (perplexity: number) => (100 * (perplexity / float.perplexity - 1)).toFixed(1);
  const lines = rows.map(({ storage, calibrated, bytesPerParameter, perplexity, trainingPeak }) => [
    `\`${storage}\``,
    calibrated ? 'yes' : '',
    bytesPerParameter.toFixed(3),
    perplexity.toFixed(3),
    storage === 'float32' ? '' : `${Number(change(perplexity)) >= 0 ? '+' : '−'}${change(perplexity).replace('-', '')} %`,
    trainingPeak === null ? '' : megabytes(trainingPeak),
  ]);
  const head = ['`storage`', 'calibrated', 'bytes a parameter', 'perplexity', 'change', 'peak of a LoRA step, MB'];
  return [
    markdownTable(head, lines),
    '',
    `stories15M on ${tokens} tokens that it wrote itself, calibrated by ${calibrationTokens} others; LoRA of rank 8 on ${batch}: \`${command}\`.`,
  ].join('\n');
}
