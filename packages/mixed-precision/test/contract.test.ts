/** The contract, on every backend that is here. */
import { available, type Subject, testTechnique } from '@leantune/testing';
import { dynamicLossScale, fixedLossScale, type MixedPrecisionOptions, mixedPrecision } from '../src/index.ts';

const backends = await available(['cpu', 'wasm', 'tensorflow', 'webgpu']);
const others = backends.filter((name) => name !== 'cpu');

/** Low enough that no first step is skipped, after which slots of the optimizer would come late. */
const lossScale = dynamicLossScale({ initial: 2 ** 8 });

/** `kinks.test.ts` holds both models to the tight bounds against a forward that rounds as this one does. */
const crossed = 'rounding moves one to seven of a few hundred values over the kink of ReLU, or to another place in a window';

const float16: Subject = {
  make: () => mixedPrecision({ lossScale }),
  factories: { mixedPrecision },
  gradients: { rel: 0.005, because: 'a half has 11 bits' },
  gradientsOn: { 'layers/residual': { rel: 0.12, because: crossed } },
  backends: { rel: 0.003, abs: 1e-3, because: 'float32 sums in another order round to another half' },
  faults: [
    {
      what: 'another policy',
      make: () => mixedPrecision({ policy: 'float8' } as unknown as MixedPrecisionOptions),
      code: 'bad-option',
      message: '[mixedPrecision] got policy "float8"; expected mixed_float16 or mixed_bfloat16. Leave it out for mixed_float16.',
    },
    {
      what: 'a loss scale that is a number',
      make: () => mixedPrecision({ lossScale: 1024 } as unknown as MixedPrecisionOptions),
      code: 'bad-option',
      message: "[mixedPrecision] got lossScale 1024; expected dynamicLossScale(…), fixedLossScale(…) or 'none'.",
    },
    {
      what: 'a kernel in two lists',
      make: () => mixedPrecision({ lists: { half: ['Gelu'], float32: ['Gelu'], low: [] } as never }),
      code: 'bad-option',
      message:
        '[mixedPrecision] got the list "low"; expected half, follow, pass, float32; Gelu in two lists; expected one. Put each kernel into one list.',
    },
    {
      what: 'constants out of range',
      make: () => mixedPrecision({ lossScale: dynamicLossScale({ initial: -1, growth: 1, backoff: 2, interval: 0.5, floor: -1 }) }),
      code: 'bad-option',
      message:
        '[dynamicLossScale] got initial -1; expected a finite number above 0; growth 1; expected a number above 1; backoff 2; expected a number between 0 and 1; ' +
        'interval 0.5; expected a whole number above 0; floor -1; expected a number from 0 to initial. Leave an option out for its default.',
    },
    {
      what: 'a fixed scale beyond float32',
      make: () => mixedPrecision({ lossScale: fixedLossScale(1e39) }),
      code: 'bad-option',
      message: '[fixedLossScale] got 1e+39; expected a finite number above 0, such as 1024.',
    },
  ],
};
testTechnique('mixedPrecision', float16, { backends: others });
for (const on of others) testTechnique('mixedPrecision', float16, { on });

testTechnique('mixedPrecision in bfloat16', {
  ...float16,
  make: () => mixedPrecision({ policy: 'mixed_bfloat16' }),
  faults: [],
  gradients: { rel: 0.04, because: 'bfloat16 has 8 bits' },
  gradientsOn: { 'layers/residual': { rel: 0.12, because: crossed }, 'layers/conv': { rel: 0.25, because: crossed } },
});
