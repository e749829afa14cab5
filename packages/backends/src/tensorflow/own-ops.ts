/**
 * Kernels that are one op of our own (native/tensorflow/ops.cc) on TensorFlow's tensors and threads: the masks and gradients that core's
 * rules look for, and the blocks of @leantune/transformers. Where the addon was not built, or is older than the op, they are not there,
 * and the ops that they stand for run. They are for the CPU.
 */
import type { Attrs } from '../kernels.ts';
import { ownCodes } from './own-codes.ts';
import { type OwnKernel, opsBehind, own, ownNames, registered, running } from './own-op.ts';
import { ownTraining } from './own-training.ts';
import { bool, float, int, withOps } from './raw.ts';

/** Of a block's gradient: those that are wanted, in that order. */
const wanted = (kernel: OwnKernel, inputs: readonly string[]): OwnKernel =>
  running(opsBehind(kernel), (given, attrs, backend) => {
    const all = [kernel(given, attrs, backend)].flat();
    for (const [i, name] of inputs.entries()) if (!attrs['wanted'].includes(name)) backend.disposeData(all[i]!.dataId);
    return attrs['wanted'].map((name: string) => all[inputs.indexOf(name)]);
  });

const gelu = ({ approximate }: Attrs) => ({ approximate: bool(approximate) });
const epsilon = (attrs: Attrs) => ({ epsilon: float(attrs['epsilon']) });
const attention = ({ heads, kvHeads, scale, causal, window, masked }: Attrs) => ({
  heads: int(heads),
  kv_heads: int(kvHeads),
  scale: float(scale),
  causal: bool(causal),
  window: int(window ?? 0),
  masked: bool(masked),
});

/** The gradient of the weight does not read it, and that of the bias not even x: what was not kept may be anything of its shape. */
const layerNormGrad = running(['LayerNormGrad'], ({ x, weight, dy }, attrs, backend) =>
  withOps(backend, ({ constant, runMany, leave }) => {
    const operands = [x ?? dy!, weight ?? constant(new Float32Array(dy!.shape.at(-1)!)), dy!];
    return runMany('LeantuneLayerNormGrad', epsilon(attrs), operands, 3).map((handle) => leave(handle, 'float32'));
  }),
);

const geluGrad = own('GeluGrad', ['x', 'dy'], gelu);
const normGrad = wanted(layerNormGrad, ['x', 'weight', 'bias']);

const kernels: { readonly [kernel: string]: OwnKernel } = {
  Relu6Mask: own('Relu6Mask', ['x'], () => ({}), ['bool']),
  InRange: own('InRange', ['x'], ({ clipValueMin, clipValueMax }) => ({ low: float(clipValueMin), high: float(clipValueMax) }), ['bool']),
  ClipByValueGrad: own('Masked', ['dy', 'mask']),
  SoftmaxGrad: own('SoftmaxGrad', ['dy', 'y']),
  Gelu: own('Gelu', ['x'], gelu),
  GeluGrad: geluGrad,
  FusedGeluGrad: geluGrad,
  LayerNorm: own('LayerNorm', ['x', 'weight', 'bias'], epsilon),
  LayerNormGrad: normGrad,
  FusedLayerNormGrad: normGrad,
  Attention: own('Attention', ['q', 'k', 'v', 'mask'], attention, ['float32', 'float32']),
  AttentionGrad: wanted(own('AttentionGrad', ['q', 'k', 'v', 'mask', 'y', 'y1', 'dy'], attention, ['float32', 'float32', 'float32']), [
    'q',
    'k',
    'v',
  ]),
};

/** The kernels whose ops the addon has, if it is there and TensorFlow computes on the CPU. */
export const ownOps = (): { readonly [kernel: string]: OwnKernel } => registered({ ...kernels, ...ownCodes, ...ownTraining }, ownNames());
