/** One text to learn from, as tokens. */
export interface Example {
  readonly ids: readonly number[];
  /** What is to be predicted at each place: the token there, or {@link IGNORED}. @default all tokens */
  readonly labels?: readonly number[];
}

/** A label that does not count, as in PyTorch. */
export const IGNORED = -100;

export const labelsOf = ({ ids, labels }: Example): readonly number[] => labels ?? ids;

/** A prompt that is read, and an answer that is learnt. */
export function promptAndAnswer(prompt: readonly number[], answer: readonly number[]): Example {
  return { ids: [...prompt, ...answer], labels: [...prompt.map(() => IGNORED), ...answer] };
}
