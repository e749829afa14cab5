// Included once for each target, by kernels.h.
#include "vector.h"
#include "gelu.h"
#include "masks.h"
#include "product.h"
#include "rows.h"
#include "attention.h"

static const Kernels kernels = {Gelu,        GeluGrad,  Relu6Mask,     InRange, Masked,
                                SoftmaxGrad, LayerNorm, LayerNormGrad, Attend,  AttendGrad};
