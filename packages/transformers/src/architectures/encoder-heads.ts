/** What encoders of text end in. */
import { layers } from '@tensorflow/tfjs-layers';
import { FirstToken, MeanPooling } from '../layers/index.ts';
import { apply, linear, type Request, type SymbolicTensor } from './architecture.ts';

/** From the first token's hidden state [n, hidden] to what the classifier reads. */
export type Pool = (first: SymbolicTensor) => SymbolicTensor;

/** hidden [n, T, d] -> by task: itself, one vector [n, d] per text, logits [n, labels], or logits [n, T, labels]. */
export function encoderHead({ task, inputs, labels }: Request, hidden: SymbolicTensor, classify: Pool): SymbolicTensor {
  if (task === 'sentence-embedding') return apply(new MeanPooling({ name: 'pooling', normalize: true }), [hidden, inputs.attention_mask!]);
  if (task === 'token-classification') return linear('classifier', hidden, labels);
  if (task === 'sequence-classification') return classify(apply(new FirstToken({ name: 'first_token' }), hidden));
  return hidden;
}

/** Dense, activation; then the classifier by name. */
export const classifier =
  (dense: string, kind: 'tanh' | 'relu', out: string, hidden: number, labels: number): Pool =>
  (first) => {
    const activated = apply(layers.activation({ name: `${dense}.activation`, activation: kind }), linear(dense, first, hidden));
    return linear(out, activated, labels);
  };
