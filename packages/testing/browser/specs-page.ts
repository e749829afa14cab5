/** The page that runs tfjs-core's own specs, with jasmine's browser build, which must have been loaded before. */
import { calls, declareSpecs, stockCalls } from '../specs/entry.ts';
import type { TapeCalls } from '../specs/tape-seam.ts';

interface Result {
  readonly status: string;
  readonly fullName: string;
  readonly failedExpectations: readonly { readonly message: string }[];
}

interface Environment {
  configure(options: { random: boolean }): void;
  addReporter(reporter: { specDone(result: Result): void }): void;
  execute(): Promise<unknown>;
}

interface JasmineRequire {
  core(require: JasmineRequire): { getEnv(): Environment };
  interface(jasmine: object, environment: Environment): object;
}

declare const jasmineRequire: JasmineRequire;

export interface PageSpecs {
  readonly passed: readonly string[];
  /** Pending in tfjs itself. */
  readonly skipped: readonly string[];
  readonly failed: readonly { readonly name: string; readonly messages: readonly string[] }[];
  readonly calls: TapeCalls;
  readonly stockCalls: number;
}

/** Runs the specs whose full name `filter` matches. */
export async function runSpecs(filter: string): Promise<PageSpecs> {
  const jasmine = jasmineRequire.core(jasmineRequire);
  const environment = jasmine.getEnv();
  Object.assign(globalThis, jasmineRequire.interface(jasmine, environment));
  environment.configure({ random: false });
  const results: Result[] = [];
  environment.addReporter({ specDone: (result) => void results.push(result) });
  const pattern = new RegExp(filter, 'i');
  await declareSpecs((name) => pattern.test(name) && !name.includes('computation in worker'));
  await environment.execute();
  const named = (status: string): Result[] => results.filter((result) => result.status === status);
  return {
    passed: named('passed').map(({ fullName }) => fullName),
    skipped: named('pending').map(({ fullName }) => fullName),
    failed: named('failed').map(({ fullName, failedExpectations }) => ({
      name: fullName,
      messages: failedExpectations.map(({ message }) => message),
    })),
    calls,
    stockCalls: stockCalls(),
  };
}
Object.assign(globalThis, { runSpecs });
