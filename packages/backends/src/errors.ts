/** What went wrong, for programs; the message says it for people. */
export type BackendErrorCode = 'not-installed' | 'not-available' | 'bad-option' | 'out-of-memory' | 'device-lost' | 'kernel-failed';

export interface BackendErrorOptions extends ErrorOptions {
  /** What to do about it: one line, which ends the message too. */
  readonly fix?: string;
  /** @default false */
  readonly late?: boolean;
}

/**
 * The error of this package. `message` starts with `[who]`; `code` is stable between versions.
 *
 * @example
 * try { await model.fit(x, y); } catch (error) {
 *   if (error instanceof BackendError && error.code === 'out-of-memory') retryWithHalfTheBatch();
 * }
 */
export class BackendError extends Error {
  override readonly name = 'BackendError';
  readonly code: BackendErrorCode;
  /** What to do about it, where that is one thing. */
  readonly fix: string | undefined;
  /** True if it was reported after the call that caused it, as GPUs do: some steps may have been made since. */
  readonly late: boolean;

  constructor(code: BackendErrorCode, who: string, message: string, { fix, late = false, ...options }: BackendErrorOptions = {}) {
    super(`[${who}] ${message}${fix ? `. ${fix}` : ''}`, options);
    this.code = code;
    this.fix = fix;
    this.late = late;
  }
}
