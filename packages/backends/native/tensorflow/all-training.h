// Included once for each target, by training.h.
#include "vector.h"
#include "columns.h"
#include "elementwise.h"

static const Training kernels = {
    ColumnMoments,     ColumnProducts, Normalize, NormalizeGrad, ColumnProductsRelu, NormalizeRelu,
    NormalizeReluGrad, Apply,          Clip,      ReluGrad,      RowSums,            ErfGrad,       Descend,
};
