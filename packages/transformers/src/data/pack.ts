/**
 * Packing: several texts in one row, so that no place is padding. Each text has a number in the row's mask, and attention stays within
 * it; the first token of a text is not predicted from the text before.
 */
import { FinetuneError } from '@leantune/core';
import { type Example, IGNORED, labelsOf } from './example.ts';

/** A row of a batch, all of one length. */
export interface Row {
  readonly ids: readonly number[];
  readonly labels: readonly number[];
  /** 0 for padding, else the number of the text in the row, from 1. */
  readonly mask: readonly number[];
}

/** Options of {@link pack}. */
export interface PackOptions {
  /** Tokens in a row. */
  readonly length: number;
  /** Fills what is left of a row. @default 0 */
  readonly padding?: number;
}

/**
 * Rows of `length` tokens: longest text first, each into the first row that has room (first-fit decreasing).
 *
 * @throws FinetuneError `bad-option` for texts longer than a row
 */
export function pack(examples: readonly Example[], { length, padding = 0 }: PackOptions): Row[] {
  const long = examples.filter(({ ids }) => ids.length > length).length;
  if (long > 0) {
    throw new FinetuneError(
      'bad-option',
      'pack',
      `got ${long} text(s) of more than ${length} tokens; expected at most that. Cut them, or set length.`,
    );
  }
  const rows: { texts: Example[]; used: number }[] = [];
  for (const example of [...examples].sort((a, b) => b.ids.length - a.ids.length)) {
    const row = rows.find(({ used }) => used + example.ids.length <= length);
    if (row) {
      row.texts.push(example);
      row.used += example.ids.length;
    } else rows.push({ texts: [example], used: example.ids.length });
  }
  return rows.map(({ texts, used }) => {
    const rest = Array.from({ length: length - used }, () => 0);
    return {
      ids: [...texts.flatMap(({ ids }) => ids), ...rest.map(() => padding)],
      labels: [...texts.flatMap((text) => labelsOf(text).map((label, i) => (i === 0 ? IGNORED : label))), ...rest.map(() => IGNORED)],
      mask: [...texts.flatMap(({ ids }, i) => ids.map(() => i + 1)), ...rest],
    };
  });
}
