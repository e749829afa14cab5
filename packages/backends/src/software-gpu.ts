/** Drivers that imitate a GPU on the processor: right, and slower there than wasm. */
const software = /swiftshader|llvmpipe|lavapipe|softpipe|software|basic render|\bwarp\b/i;

export const isSoftwareGpu = (...names: readonly (string | undefined)[]): boolean => names.some((name) => software.test(name ?? ''));
