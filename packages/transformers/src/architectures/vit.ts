/** ViT (Dosovitskiy et al. 2020, arXiv 2010.11929) and DeiT (Touvron et al. 2020, arXiv 2012.12877): images [n, h, w, channels] as patches. */
import { layers } from '@tensorflow/tfjs-layers';
import { Attention, FirstToken, LayerNorm, PatchPositions, storages } from '../layers/index.ts';
import { type Architecture, activation, apply, linear, type Request, residual, type SymbolicTensor } from './architecture.ts';
import type { ConfigReader } from './config.ts';
import { type EncoderSizes, readEncoderSizes } from './encoder-block.ts';

/** x [n, T, hidden] -> the same shape. */
function block(
  at: string,
  x: SymbolicTensor,
  { hidden, middle, heads, epsilon, act, storage }: EncoderSizes,
  useBias: boolean,
): SymbolicTensor {
  const dense = (name: string, y: SymbolicTensor, units: number, bias = true) => linear(`${at}.${name}`, y, units, bias, storage);
  const norm = (name: string, y: SymbolicTensor) => apply(new LayerNorm({ name: `${at}.${name}`, epsilon }), y);
  const normal = norm('layernorm_before', x);
  const qkv = ['query', 'key', 'value'].map((part) => dense(`attention.attention.${part}`, normal, hidden, useBias));
  const attention = { heads, kvHeads: heads, headSize: hidden / heads, causal: false };
  const mixed = apply(new Attention({ ...attention, name: `${at}.attention.attention` }), qkv);
  const attended = residual(`${at}.attention.residual`, x, dense('attention.output.dense', mixed, hidden));
  const wide = dense('intermediate.dense', norm('layernorm_after', attended), middle);
  return residual(`${at}.residual`, attended, dense('output.dense', activation(act, `${at}.intermediate.act`, wide), hidden));
}

const sideOf = (config: ConfigReader) => config.number('image_size', 224);

function build({ config, task, inputs, labels, storage }: Request): SymbolicTensor {
  const sizes = readEncoderSizes(config, storage);
  const useBias = config.flag('qkv_bias', true);
  const [side, patch, depth] = [sideOf(config), config.number('patch_size', 16), config.number('num_hidden_layers')];
  config.check();
  const base = task === 'image-classification' ? `${config.type}.` : '';
  const at = `${base}embeddings`;
  const name = `${at}.patch_embeddings.projection`;
  const projection = layers.conv2d({ name, filters: sizes.hidden, kernelSize: patch, strides: patch });
  const map = apply(projection, inputs.pixel_values!); // [n, side / patch, side / patch, hidden]
  const patches = apply(layers.reshape({ name: `${at}.patches`, targetShape: [Math.floor(side / patch) ** 2, sizes.hidden] }), map);
  const tokens = config.type === 'deit' ? ['cls', 'distillation'] : ['cls'];
  let x = apply(new PatchPositions({ name: at, tokens }), patches);
  for (let i = 0; i < depth; i++) x = block(`${base}encoder.layer.${i}`, x, sizes, useBias);
  x = apply(new LayerNorm({ name: `${base}layernorm`, epsilon: sizes.epsilon }), x);
  if (task !== 'image-classification') return x;
  return linear('classifier', apply(new FirstToken({ name: 'first_token' }), x), labels);
}

const shared: Omit<Architecture, 'types' | 'prefix'> = {
  tasks: ['hidden-states', 'image-classification'],
  storages,
  inputs: ['pixel_values'],
  defaultInputs: ['pixel_values'],
  imageShape: (config: ConfigReader) => [sideOf(config), sideOf(config), config.number('num_channels', 3)],
  unread: /(^|\.)pooler\.|mask_token$|^decoder\./,
  build,
};

export const vit: Architecture = { ...shared, types: ['vit'], prefix: 'vit.' };
export const deit: Architecture = { ...shared, types: ['deit'], prefix: 'deit.' };
