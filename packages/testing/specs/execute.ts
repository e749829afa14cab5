/** Runs a bundle of tfjs-core's specs (bundle.ts) with jasmine, and sums up. */
import { createRequire } from 'node:module';
import type { SpecBundle, TapeCalls } from './tape-seam.ts';

export interface SpecSummary {
  readonly backend: string;
  readonly filter: string;
  /** Specs that `filter` accepts: passed + failed + skipped. */
  readonly total: number;
  readonly passed: number;
  readonly failed: number;
  /** Pending in tfjs itself. */
  readonly skipped: number;
  readonly failures: readonly { readonly name: string; readonly messages: readonly string[] }[];
  readonly calls: TapeCalls;
  readonly stockCalls: number;
}

interface SpecResult {
  readonly status: string;
  readonly fullName: string;
  readonly failedExpectations: readonly { readonly message: string }[];
}

interface Jasmine {
  exitOnCompletion: boolean;
  loadConfig(config: { spec_files: string[]; random: boolean }): void;
  clearReporters(): void;
  addReporter(reporter: { specDone(result: SpecResult): void }): void;
  execute(): Promise<unknown>;
}

const require = createRequire(import.meta.url);

/** @param bundle path of what `bundleSpecs` built for `backend` */
export async function runSpecs(bundle: string, backend: string, filter: string): Promise<SpecSummary> {
  const jasmine: Jasmine = new (require('jasmine'))();
  jasmine.exitOnCompletion = false;
  jasmine.loadConfig({ spec_files: [], random: false });
  const results: SpecResult[] = [];
  jasmine.clearReporters();
  jasmine.addReporter({ specDone: (result) => results.push(result) });

  // Shaders are compiled in the first specs that need them, by as many processes as there are: a hang is for the caller to stop.
  (globalThis as unknown as { jasmine: { DEFAULT_TIMEOUT_INTERVAL: number } }).jasmine.DEFAULT_TIMEOUT_INTERVAL = 60_000;
  const specs: SpecBundle = require(bundle);
  const pattern = new RegExp(filter, 'i');
  // The worker spec loads a browser bundle of tfjs by a path that exists only in tfjs's own repository.
  await specs.declareSpecs((name) => pattern.test(name) && !name.includes('computation in worker'));
  await jasmine.execute();

  const count = (status: string): number => results.filter((r) => r.status === status).length;
  const [passed, failed, skipped] = [count('passed'), count('failed'), count('pending')];
  const failures = results
    .filter((r) => r.status === 'failed')
    .map((r) => ({ name: r.fullName, messages: r.failedExpectations.map((e) => e.message) }));
  return {
    backend,
    filter,
    total: passed + failed + skipped,
    passed,
    failed,
    skipped,
    failures,
    calls: specs.calls,
    stockCalls: specs.stockCalls(),
  };
}
