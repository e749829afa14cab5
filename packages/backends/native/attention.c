/*
 * o = softmax(q kT scale) v per head, and its gradient, by blocks of queries whose scores lie in memory that the caller lends
 * (Dao et al. 2022, arXiv 2205.14135). Heads are read where they lie beside each other; those that share a head of keys meet it in one product
 * (Ainslie et al. 2023, arXiv 2305.13245).
 *
 *     P = exp(q kT scale - lse)     dv = PT do     dS = P (do vT - sum do o) scale     dq = dS k     dk = dST q
 *
 * A block meets all its keys at once, so that softmax needs no running maximum; of later keys, and of ones before the window, there are none.
 */
#include "exponential.h"

enum { MOST = 64 };

typedef struct {
  int n, queries, keys, heads, kvHeads, size; /* q [n, queries, heads * size], k and v [n, keys, kvHeads * size] */
  int causal, window;                         /* the last query is at the last key; a window of 0 is none */
  int rows;                                   /* of a block, at most MOST */
  float scale;
  const float* mask; /* [n, keys], or 0 */
} Attention;

/* Some rows of the queries that share a head of keys, all heads of a query before the next, and the keys from `from` on that any of them sees. */
typedef struct {
  const Attention* of;
  int start, rows, group;
  int from, keys;
  int kv;         /* where the first key lies */
  int at[MOST];   /* where each row lies */
  int stat[MOST]; /* and what is one number a row */
  const float* mask;
} Block;

typedef struct {
  int from, to;
} Range;

/* The key at a row's query. */
static int keyOf(const Block* block, int row) { return block->of->keys - block->of->queries + (block->start + row) / block->group; }

/* The keys that a row sees, counted from the block's first. */
ONCE Range seen(const Block* block, int row) {
  const Attention* of = block->of;
  if (!of->causal) return (Range){0, block->keys};
  int at = keyOf(block, row) - block->from;
  return (Range){of->window > 0 ? max(0, at - of->window + 1) : 0, at + 1};
}

ONCE Block blockOf(const Attention* of, int b, int kvHead, int start) {
  int group = of->heads / of->kvHeads;
  Block block = {.of = of, .start = start, .rows = min(of->rows, of->queries * group - start), .group = group};
  block.from = of->causal && of->window > 0 ? max(0, keyOf(&block, 0) - of->window + 1) : 0;
  block.keys = (of->causal ? keyOf(&block, block.rows - 1) + 1 : of->keys) - block.from;
  block.kv = ((b * of->keys + block.from) * of->kvHeads + kvHead) * of->size;
  block.mask = of->mask ? of->mask + b * of->keys : 0;
  for (int r = 0; r < block.rows; r++) {
    int query = (start + r) / group, head = kvHead * group + (start + r) % group;
    block.at[r] = ((b * of->queries + query) * of->heads + head) * of->size;
    block.stat[r] = (b * of->heads + head) * of->queries + query;
  }
  return block;
}

static Rows ofQueries(const Block* block, const float* x) { return (Rows){(float*)x, block->at, 0}; }
static Rows ofKeys(const Block* block, const float* x) { return (Rows){(float*)x + block->kv, 0, block->of->kvHeads * block->of->size}; }

enum { HIDDEN = 1 << 30 };

/* s scale, less 2^30 times the squared distance of the numbers of the documents; a query that is padding counts as of the first. */
ONCE void scaleRow(const Block* block, int row, float* s, Range keys) {
  const Attention* of = block->of;
  int i = keys.from;
  if (!block->mask) {
    for (; i + 4 <= keys.to; i += 4) store(s + i, load(s + i) * splat(of->scale));
    for (; i < keys.to; i++) s[i] *= of->scale;
    return;
  }
  const float* numbers = block->mask + block->from;
  float own = block->mask[keyOf(block, row)];
  own = own < 1 ? 1 : own;
  for (; i + 4 <= keys.to; i += 4) {
    f4 far = splat(own) - load(numbers + i);
    store(s + i, load(s + i) * splat(of->scale) - far * far * splat(HIDDEN));
  }
  for (; i < keys.to; i++) s[i] = s[i] * of->scale - (own - numbers[i]) * (own - numbers[i]) * HIDDEN;
}

/* NaN does not win, but the exponentials of its row are NaN. */
static float highest(const float* s, Range keys) {
  float top = s[keys.from];
  for (int i = keys.from; i < keys.to; i++) top = s[i] > top ? s[i] : top;
  return top;
}

/* s becomes exp(s - less) where it is seen, and 0 elsewhere. Returns the sum. */
ONCE float weigh(float* s, int count, Range keys, float less) {
  f4 sums = splat(0);
  int i = keys.from;
  for (; i + 4 <= keys.to; i += 4) {
    f4 y = exp4(load(s + i) - splat(less));
    store(s + i, y);
    sums += y;
  }
  float sum = sums[0] + sums[1] + sums[2] + sums[3];
  for (; i < keys.to; i++) sum += s[i] = exp4(splat(s[i] - less))[0];
  zero(s, keys.from);
  zero(s + keys.to, count - keys.to);
  return sum;
}

/* q kT, [rows, keys]. */
static void products(const Block* block, const float* a, const float* b, float* out, Scratch* scratch) {
  gemm(block->rows, block->keys, block->of->size, ofQueries(block, a), 0, ofKeys(block, b), 1, (Rows){out, 0, block->keys}, 0, scratch);
}

#define EACH_BLOCK(of)                                           \
  for (int b = 0; b < (of)->n; b++)                              \
    for (int head = 0; head < (of)->kvHeads; head++)             \
      for (int start = 0; start < (of)->queries * ((of)->heads / (of)->kvHeads); start += (of)->rows)

#define GIVEN int n, int queries, int keys, int heads, int kvHeads, int size, int causal, int window, int rows, float scale, const float* mask
#define TASK &(Attention){n, queries, keys, heads, kvHeads, size, causal, window, min(rows, MOST), scale, mask}

/* o, and of each query and head the highest score and the sum of exp(score - highest). */
EXPORT(attention) void attention(GIVEN, const float* q, const float* k, const float* v, float* o, float* top, float* sum, float* scores, Scratch* scratch) {
  const Attention* of = TASK;
  EACH_BLOCK(of) {
    Block block = blockOf(of, b, head, start);
    products(&block, q, k, scores, scratch);
    for (int r = 0; r < block.rows; r++) {
      float* s = scores + r * block.keys;
      Range keys = seen(&block, r);
      scaleRow(&block, r, s, keys);
      top[block.stat[r]] = highest(s, keys);
      sum[block.stat[r]] = weigh(s, block.keys, keys, top[block.stat[r]]);
    }
    Rows out = ofQueries(&block, o);
    gemm(block.rows, of->size, block.keys, (Rows){scores, 0, block.keys}, 0, ofKeys(&block, v), 0, out, 0, scratch);
    for (int r = 0; r < block.rows; r++)
      for (int c = 0; c < of->size; c++) row(out, r)[c] /= sum[block.stat[r]];
  }
}

/* s, the scores, become P; d, that was do vT, becomes dS. */
static void slopes(const Block* block, const float* o, const float* dOut, const float* lse, float* scores, float* slope) {
  const Attention* of = block->of;
  for (int r = 0; r < block->rows; r++) {
    float *s = scores + r * block->keys, *d = slope + r * block->keys, along = 0;
    const float *y = row(ofQueries(block, o), r), *dy = row(ofQueries(block, dOut), r);
    for (int c = 0; c < of->size; c++) along += dy[c] * y[c];
    Range keys = seen(block, r);
    scaleRow(block, r, s, keys);
    weigh(s, block->keys, keys, lse[block->stat[r]]);
    int i = 0;
    for (; i + 4 <= block->keys; i += 4) store(d + i, load(s + i) * (load(d + i) - splat(along)) * splat(of->scale));
    for (; i < block->keys; i++) d[i] = s[i] * (d[i] - along) * of->scale;
  }
}

/* dq, dk and dv; one that is not wanted is 0. `slope` is as large as `scores`. */
EXPORT(attentionGradient) void attentionGradient(GIVEN, const float* q, const float* k, const float* v, const float* o, const float* lse, const float* dOut, float* dq, float* dk, float* dv, float* scores, float* slope, Scratch* scratch) {
  const Attention* of = TASK;
  if (dk) zero(dk, of->n * of->keys * of->kvHeads * of->size);
  if (dv) zero(dv, of->n * of->keys * of->kvHeads * of->size);
  EACH_BLOCK(of) {
    Block block = blockOf(of, b, head, start);
    products(&block, q, k, scores, scratch);
    products(&block, dOut, v, slope, scratch);
    slopes(&block, o, dOut, lse, scores, slope);
    Rows p = {scores, 0, block.keys}, d = {slope, 0, block.keys};
    if (dq) gemm(block.rows, of->size, block.keys, d, 0, ofKeys(&block, k), 0, ofQueries(&block, dq), 0, scratch);
    if (dk) gemm(block.keys, of->size, block.rows, d, 1, ofQueries(&block, q), 0, ofKeys(&block, dk), 1, scratch);
    if (dv) gemm(block.keys, of->size, block.rows, p, 1, ofQueries(&block, dOut), 0, ofKeys(&block, dv), 1, scratch);
  }
}
