export { type AdapterFiles, type SafetensorsHandler, safetensorsFiles } from './adapter-files.ts';
export { decodeFloats, encodeFloats, type FloatDtype } from './dtypes.ts';
export type { SafetensorsHeader, TensorEntry } from './header.ts';
export { floatsOf, type ReadOptions, readSafetensors, readSafetensorsHeader, type StoredTensor } from './read.ts';
export { type TensorValues, type WriteOptions, writeSafetensors } from './write.ts';
