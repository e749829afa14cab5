/** What went wrong, for programs. The message says it for people: who, what was got, what was expected, what to do. */
export type FinetuneErrorCode =
  | 'bad-option'
  | 'bad-loss'
  | 'not-finite'
  | 'no-gradient'
  | 'not-reached'
  | 'disposed'
  | 'busy'
  | 'already-tuned'
  | 'no-match'
  | 'no-merge'
  | 'conflict'
  | 'bad-model'
  | 'bad-file';

const mark = Symbol.for('@leantune/FinetuneError');

/**
 * The one error class of LeanTune. `message` starts with `[who]`; `code` is stable between versions.
 *
 * @example
 * try { await tuned.load('file://adapter'); } catch (error) {
 *   if (FinetuneError.is(error) && error.code === 'bad-file') console.error(error.message);
 * }
 */
export class FinetuneError extends Error {
  override readonly name = 'FinetuneError';
  readonly code: FinetuneErrorCode;

  constructor(code: FinetuneErrorCode, who: string, message: string, options?: ErrorOptions) {
    super(`[${who}] ${message}`, options);
    this.code = code;
    Object.defineProperty(this, mark, { value: true });
  }

  /** True for a FinetuneError of any copy of this package (`instanceof` fails across duplicates). */
  static is(error: unknown): error is FinetuneError {
    return typeof error === 'object' && error !== null && mark in error;
  }
}
