import './matchers.ts';

export { all } from './all.ts';
export { available, describeOn } from './backends.ts';
export { type ContractOptions, laws, testTechnique } from './contract.ts';
export { composes, refuses, sameOnBackend } from './laws/combine.ts';
export { explainsFault } from './laws/errors.ts';
export { fitsAsUsual } from './laws/fit.ts';
export { savesWhatItSays } from './laws/memory.ts';
export type { Closeness, Numbers } from './matchers.ts';
export { type MemoryFile, memoryFile } from './memory-file.ts';
export * from './models/index.ts';
export type { Bound, Factories, Fault, Law, Make, Saving, Subject } from './subject.ts';
