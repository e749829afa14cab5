/** The parts of tfjs-converter 4.22 that the reader of GraphModels touches, as it is loaded by the user and not by core. */
import type * as tf from '@tensorflow/tfjs-core';

export interface GraphNode {
  readonly name: string;
  readonly op: string;
  /** Read by the executor before each op. */
  readonly category: string;
  readonly inputs: readonly GraphNode[];
  readonly attrParams: { readonly [name: string]: { readonly value?: unknown } | undefined };
}

export interface Executor {
  weightMap: { readonly [name: string]: tf.Tensor[] };
  readonly _outputs: readonly GraphNode[];
  execute(...args: unknown[]): unknown;
  executeAsync(...args: unknown[]): unknown;
}

/** All nodes that lead to `outputs`, inputs before those who read them. */
export function nodesOf(outputs: readonly GraphNode[]): readonly GraphNode[] {
  const order: GraphNode[] = [];
  const seen = new Set<GraphNode>();
  const visit = (node: GraphNode): void => {
    if (seen.has(node)) return;
    seen.add(node);
    node.inputs.forEach(visit);
    order.push(node);
  };
  outputs.forEach(visit);
  return order;
}
