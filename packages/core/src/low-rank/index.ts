export { offRecord, rebind } from '../autograd/held.ts';
export { checkRanges, count, fraction, positive } from '../optimizers/ranges.ts';
export { type Adapters, adaptersOf, join, type Membership, type SiteAdapter, type Weights } from './adapters.ts';
export { type DecomposeOptions, type Decomposition, decompose, type KnownSvds, svdOf } from './decompose.ts';
export { FactorAdapter, type Factors } from './factor-adapter.ts';
export { dropped, narrow, ownVariable, widen } from './low-rank-path.ts';
export { denseSites, kernelMatrix, type LowRankSite, likeKernel, lowRankSites, matrixShape } from './low-rank-sites.ts';
export { firstColumns, type Matrix } from './matrix.ts';
export { type SvdOptions, type TruncatedSvd, truncatedSvd } from './truncated-svd.ts';
