/** What an architecture is: a function from a config to a graph of layers that are named as in the checkpoint. */
import { type input, layers, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { Gelu, Linear, type Storage } from '../layers/index.ts';
import type { ConfigReader, Task } from './config.ts';

export type { SymbolicTensor };

/** The inputs of a model, by Hugging Face's names. */
export interface Inputs {
  readonly input_ids?: SymbolicTensor | undefined;
  readonly attention_mask?: SymbolicTensor | undefined;
  readonly token_type_ids?: SymbolicTensor | undefined;
  readonly pixel_values?: SymbolicTensor | undefined;
}
/** Inputs of a model, by Hugging Face's names. */
export type InputName = keyof Inputs;

export interface Request {
  readonly config: ConfigReader;
  readonly task: Task;
  readonly inputs: Inputs;
  /** Of a classifier. */
  readonly labels: number;
  /** Of linear layers and tables of tokens. */
  readonly storage: Storage;
}

export interface Architecture {
  /** Values of `model_type`. */
  readonly types: readonly string[];
  readonly tasks: readonly Task[];
  readonly storages: readonly Storage[];
  /** The inputs it may have, and those that it has if nothing else is asked for. */
  readonly inputs: readonly InputName[];
  readonly defaultInputs: readonly InputName[];
  /** Shape of an image, if it takes one. */
  readonly imageShape?: (config: ConfigReader) => number[];
  /** What names of the base model begin with under a head: `'bert.'`. */
  readonly prefix: string;
  /** Tensors of checkpoints that no task here reads. */
  readonly unread: RegExp;
  build(request: Request): SymbolicTensor;
}

export type InputLayer = ReturnType<typeof input>;

/** Applies a new layer, whose weights stay zero until the checkpoint fills them. */
export function apply(layer: layers.Layer, x: SymbolicTensor | SymbolicTensor[]): SymbolicTensor {
  layer.setFastWeightInitDuringBuild(true);
  return layer.apply(x) as SymbolicTensor;
}

export const linear = (name: string, x: SymbolicTensor, units: number, useBias = true, storage?: Storage): SymbolicTensor =>
  apply(new Linear({ name, units, useBias, ...(storage && { storage }) }), x);

export const residual = (name: string, x: SymbolicTensor, y: SymbolicTensor): SymbolicTensor => apply(layers.add({ name }), [x, y]);

export const present = (...tensors: (SymbolicTensor | undefined)[]): SymbolicTensor[] => tensors.filter((t) => t !== undefined);

/** Hugging Face's names of activations. */
export const activations = ['gelu', 'gelu_new', 'gelu_pytorch_tanh', 'gelu_fast', 'relu', 'silu', 'swish', 'tanh'] as const;

export function activation(kind: (typeof activations)[number], name: string, x: SymbolicTensor): SymbolicTensor {
  if (kind.startsWith('gelu')) return apply(new Gelu({ name, approximate: kind !== 'gelu' }), x);
  return apply(layers.activation({ name, activation: kind === 'silu' ? 'swish' : (kind as 'relu' | 'swish' | 'tanh') }), x);
}
