/** Where joules come from: one small interface, so that a counter, a sampled sensor and an estimate are read alike. */

/** What a meter measures the energy of. */
export type Part = 'gpu' | 'cpu' | 'memory';

/** A source that is open and counts. */
export interface Meter {
  /** Unique among meters that are open at once: `GPU 0 NVIDIA H100 PCIe`. */
  readonly name: string;
  readonly part: Part;
  /** True where the energy is computed from something else, not measured. */
  readonly estimated: boolean;
  /** How often the reading moves, in seconds. A run should last ten times as long or more. */
  readonly updateSeconds: number;
  /**
   * Joules since the meter was opened, up to the moment of the call. Resolves once the sensor has told of that moment, so that a run
   * need not wait for it: call, run, call again, and wait for both.
   */
  read(): Promise<number>;
  close(): Promise<void>;
}

/** A way to measure, or to estimate, joules. */
export interface EnergySource {
  /** In reports and errors: `nvml`. */
  readonly name: string;
  /** @throws {EnergyError} `no-source` where there is none, `not-permitted` where it may not be read; the message says what to do */
  open(): Promise<readonly Meter[]>;
}
