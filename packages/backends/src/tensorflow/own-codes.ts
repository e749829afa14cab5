/**
 * The kernels of `../codes.ts` as ops of our own (native/tensorflow/codes.cc), one pass each. `step-codes.ts`, `row-codes.ts` and
 * `pool-codes.ts` compose them of TensorFlow's where the addon was not built, in words that are the same.
 */
import { type Attrs, input } from '../kernels.ts';
import { poolInfo2d } from '../pool-window.ts';
import { type OwnKernel, own, running } from './own-op.ts';
import { bool, float, int, shape } from './raw.ts';

const levelsOf = ({ levels, bits }: Attrs) => ({ levels: float(levels), bits: int(bits) });
const rowsOf = ({ bits, group }: Attrs) => ({ bits: int(bits), group: int(group) });

const levels = own('DecodeSteps', ['codes'], (attrs) => ({ ...levelsOf(attrs), shape: shape(attrs['shape']) }));
const timesLevels = own('TimesSteps', ['codes', 'dy'], levelsOf);

/** `inputShape` that of the images. */
function windowOf(inputShape: readonly number[], attrs: Attrs) {
  const of = poolInfo2d(inputShape, attrs);
  const { top, left } = of.padInfo;
  return {
    bits: int(attrs['bits']),
    shape: shape(inputShape),
    out: shape(of.outShape),
    window: int([of.filterHeight, of.filterWidth, of.strideHeight, of.strideWidth, top, left]),
  };
}

export const ownCodes: { readonly [kernel: string]: OwnKernel } = {
  EncodeSteps: own('EncodeSteps', ['x'], ({ borders, codes, bits }) => ({ borders: float(borders), codes: int(codes), bits: int(bits) }), [
    'int32',
  ]),
  DecodeSteps: running(['DecodeSteps', 'TimesSteps'], (inputs, attrs, backend) =>
    (inputs['dy'] ? timesLevels : levels)(inputs, attrs, backend),
  ),
  QuantizeRows: own('QuantizeRows', ['x'], (attrs) => ({ ...rowsOf(attrs), seed: int(attrs['seed'] | 0) }), ['int32']),
  DequantizeRows: own('DequantizeRows', ['codes'], (attrs) => ({ ...rowsOf(attrs), shape: shape(attrs['shape']) })),
  SoftmaxGradRows: own('SoftmaxGradRows', ['codes', 'dy'], rowsOf),
  NormGradRows: own('NormGradRows', ['codes', 'dy', 'mean', 'rstd', 'scale'], rowsOf),
  RowMoments: own('RowMoments', ['x'], ({ epsilon, centered }) => ({ epsilon: float(epsilon), centered: bool(centered) }), [
    'float32',
    'float32',
  ]),
  MaxPoolIndex: running(['MaxPoolIndex'], (inputs, attrs, backend) =>
    own('MaxPoolIndex', ['x'], () => windowOf(input(inputs, 'x').shape, attrs), ['int32'])(inputs, attrs, backend),
  ),
  MaxPoolIndexGrad: own('MaxPoolIndexGrad', ['codes', 'dy'], (attrs) => windowOf(attrs['inputShape'], attrs)),
};
