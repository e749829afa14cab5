/** What went wrong, for programs. The message says it for people: who, what was got, what was expected, what to do. */
export type EnergyErrorCode = 'bad-option' | 'bad-sample' | 'no-source' | 'not-permitted' | 'bad-reading';

const mark = Symbol.for('@leantune/EnergyError');

/** The one error class of this package, which needs no other of LeanTune. `message` starts with `[who]`. */
export class EnergyError extends Error {
  override readonly name = 'EnergyError';
  readonly code: EnergyErrorCode;

  constructor(code: EnergyErrorCode, who: string, message: string, options?: ErrorOptions) {
    super(`[${who}] ${message}`, options);
    this.code = code;
    Object.defineProperty(this, mark, { value: true });
  }

  /** True for an EnergyError of any copy of this package. */
  static is(error: unknown): error is EnergyError {
    return typeof error === 'object' && error !== null && mark in error;
  }
}
