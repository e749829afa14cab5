/** What went wrong, for programs; the message says it for people. */
export type BackendErrorCode = 'not-installed' | 'not-available' | 'bad-option' | 'out-of-memory' | 'device-lost' | 'kernel-failed';

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

  constructor(code: BackendErrorCode, who: string, message: string, options?: ErrorOptions) {
    super(`[${who}] ${message}`, options);
    this.code = code;
  }
}
