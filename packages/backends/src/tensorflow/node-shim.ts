/**
 * What tfjs-node 4.22 needs of Node and of the environment before it is loaded.
 *
 * It calls `util.isNullOrUndefined` and `util.isArray`, which Node 23 removed (mended in tfjs's source, tensorflow/tfjs#8425, and
 * never released). TensorFlow takes all memory of a GPU at its start, unless told to grow.
 */
export function shimNode(): void {
  const util = globalThis.process?.getBuiltinModule?.('node:util') as { [name: string]: unknown } | undefined;
  if (!util) return;
  util['isNullOrUndefined'] ??= (value: unknown) => value === null || value === undefined;
  util['isArray'] ??= Array.isArray;
  process.env['TF_FORCE_GPU_ALLOW_GROWTH'] ??= 'true';
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2';
}
