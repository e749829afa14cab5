/**
 * Builds a GraphModel node by node, in the JSON form of TensorFlow's GraphDef that the converter writes: strings in base64, 64-bit
 * integers as strings.
 */
import * as tf from '@tensorflow/tfjs';

type Attribute = { readonly [kind: string]: unknown };

interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly input: readonly string[];
  readonly attr: { readonly [name: string]: Attribute };
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** Attributes of NodeDef. */
export const attribute = {
  text: (value: string): Attribute => ({ s: base64(value) }),
  texts: (...values: string[]): Attribute => ({ list: { s: values.map(base64) } }),
  integer: (value: number): Attribute => ({ i: String(value) }),
  integers: (...values: number[]): Attribute => ({ list: { i: values.map(String) } }),
  float: (value: number): Attribute => ({ f: value }),
  flag: (value: boolean): Attribute => ({ b: value }),
  type: (dtype: tf.DataType): Attribute => ({ type: dtype === 'int32' ? 'DT_INT32' : 'DT_FLOAT' }),
  shape: (shape: readonly number[]): Attribute => ({ shape: { dim: shape.map((size) => ({ size: String(size) })) } }),
};

export class GraphBuilder {
  readonly #nodes: GraphNode[] = [];
  readonly #weights: { readonly name: string; readonly tensor: tf.Tensor }[] = [];

  /** Adds an op; returns its name, to be another's input. */
  node(name: string, op: string, input: readonly string[], attr: GraphNode['attr'] = {}): string {
    this.#nodes.push({ name, op, input, attr: { T: attribute.type('float32'), ...attr } });
    return name;
  }

  /** `-1` is any size. */
  placeholder(name: string, shape: readonly number[]): string {
    return this.node(name, 'Placeholder', [], { dtype: attribute.type('float32'), shape: attribute.shape(shape) });
  }

  /** Takes over `tensor`. */
  constant(name: string, tensor: tf.Tensor): string {
    this.#weights.push({ name, tensor });
    return this.node(name, 'Const', [], {
      dtype: attribute.type(tensor.dtype),
      value: { tensor: { dtype: attribute.type(tensor.dtype)['type'], tensorShape: {} } },
    });
  }

  async load(): Promise<tf.GraphModel> {
    const { data, specs } = await tf.io.encodeWeights(this.#weights);
    tf.dispose(this.#weights.map(({ tensor }) => tensor));
    const modelTopology = { node: this.#nodes, library: {}, versions: { producer: 1087 } };
    return tf.loadGraphModel(
      tf.io.fromMemory({ modelTopology, weightSpecs: specs, weightData: data, format: 'graph-model', generatedBy: 'test' }),
    );
  }
}
