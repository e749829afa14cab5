/** What the doctor finds: the object that `--json` prints. */

export const backendNames = ['tensorflow', 'webgpu', 'wasm', 'webgl', 'cpu'] as const;
export type BackendName = (typeof backendNames)[number];

/** Named facts of a backend, as the adapter's features: text, a number, or a list. */
export type Facts = Readonly<Record<string, string | number | boolean | readonly string[] | Readonly<Record<string, number>>>>;

export interface Works {
  readonly works: true;
  readonly facts: Facts;
}

export interface Fails {
  readonly works: false;
  readonly why: string;
  readonly fix: string;
}

export type Finding = Works | Fails;

export interface Choice {
  readonly name: string;
  readonly why: string;
  readonly passed: readonly { readonly name: string; readonly why: string; readonly fix: string }[];
}

export interface System {
  readonly node: string;
  readonly platform: string;
  readonly processor: string;
  readonly cores: number;
  /** Bytes of the machine, and of them free. */
  readonly memory: { readonly total: number; readonly free: number };
  /** Most bytes that JavaScript objects may take; tensors of tensorflow, wasm and webgpu lie outside. */
  readonly heapLimit: number;
  /** NVIDIA GPUs as the driver names them: name, driver, memory. */
  readonly nvidia: readonly string[];
}

export interface Report {
  readonly system: System;
  /** Package to installed version; those that are not installed are missing. */
  readonly versions: Readonly<Record<string, string>>;
  readonly backends: Readonly<Record<BackendName, Finding>>;
  /** What `useBackend('auto')` picks, if it picks any. */
  readonly auto: Choice | Fails;
}
