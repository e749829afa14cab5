/** The models of the comparison, at sizes that people fine-tune in a tab. */
import type { Contest } from './cell.ts';

type Sized = Contest & {
  /** In place of the fields above under `--quick`. */
  readonly quick: Pick<Contest, 'spec' | 'batch' | 'steps'>;
};

const small = { layers: 2, width: 32, heads: 2, inner: 64 };

const contests: readonly Sized[] = [
  {
    ...{ id: 'mobilenet-v2', title: 'MobileNetV2, 96 px, batch 16', batch: 16, steps: 4 },
    spec: { name: 'mobilenet-v2', size: 96, width: 1, classes: 10 },
    quick: { spec: { name: 'mobilenet-v2', size: 32, width: 0.25, classes: 4 }, batch: 2, steps: 1 },
  },
  {
    ...{ id: 'resnet-50', title: 'ResNet-50, 96 px, batch 8', batch: 8, steps: 3 },
    spec: { name: 'resnet-50', size: 96, width: 1, classes: 10 },
    quick: { spec: { name: 'resnet-50', size: 32, width: 0.25, classes: 4 }, batch: 2, steps: 1 },
  },
  {
    ...{ id: 'minilm', title: "Encoder of MiniLM's shape, 128 tokens, batch 8", batch: 8, steps: 3 },
    spec: { name: 'encoder', layers: 6, width: 384, heads: 12, inner: 1536, vocabulary: 30_522, tokens: 128, classes: 20 },
    quick: { spec: { name: 'encoder', ...small, vocabulary: 100, tokens: 16, classes: 4 }, batch: 2, steps: 1 },
  },
  {
    ...{ id: 'stories15M', title: "Decoder of stories15M's shape, 256 tokens, batch 4", batch: 4, steps: 2 },
    spec: { name: 'decoder', layers: 6, width: 288, heads: 6, inner: 768, vocabulary: 32_000, tokens: 256 },
    quick: { spec: { name: 'decoder', ...small, vocabulary: 100, tokens: 16 }, batch: 2, steps: 1 },
  },
  {
    ...{ id: 'vit-tiny', title: 'ViT-Tiny, 224 px in patches of 16, batch 8', batch: 8, steps: 2 },
    spec: { name: 'vit', layers: 12, width: 192, heads: 3, inner: 768, size: 224, patch: 16, classes: 10 },
    quick: { spec: { name: 'vit', ...small, size: 32, patch: 16, classes: 4 }, batch: 2, steps: 1 },
  },
];

export const contestsOf = (quick: boolean): readonly Contest[] =>
  contests.map(({ quick: tiny, ...contest }) => (quick ? { ...contest, ...tiny } : contest));
