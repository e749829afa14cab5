// Included once for each target, by codes.h. Codes are the same words on every backend, which round after each operation: a product and a sum
// must not become one.
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#pragma STDC FP_CONTRACT OFF
#include "vector.h"
#include "rows.h"
#include "code-words.h"
#include "step-codes.h"
#include "row-codes.h"
#include "pool-codes.h"
#pragma GCC pop_options

static const Codes kernels = {EncodeSteps, DecodeSteps, QuantizeRows, DequantizeRows, SoftmaxGradRows, NormGradRows, NormScaleGradRows, RowMoments, MaxPoolTaps, PackTaps, MaxPoolIndexGrad};
