/**
 * Reads a GraphModel. Its weights are constants in `executor.weightMap`; one that trains is put there as a variable, and the
 * graph, its gradients and tfjs's own early release of tensors work on as before. Which node runs is seen where the executor reads
 * `node.category`, before each op.
 */

import type { GraphModel } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { recording } from '../gradients.ts';
import type { Undo } from '../technique.ts';
import { type Constants, type GraphNode, GraphSite } from './graph-site.ts';
import { type Interceptor, intercept, operands } from './intercept.ts';
import { type ModelReader, makeReader } from './model-reader.ts';
import type { Replacement } from './replaceable-site.ts';

/** The part of tfjs-converter 4.22's executor that is touched. */
interface Executor {
  weightMap: { readonly [name: string]: tf.Tensor[] };
  readonly graph: { readonly nodes: { readonly [name: string]: GraphNode } };
  readonly _outputs: readonly GraphNode[];
  execute(...args: unknown[]): unknown;
  executeAsync(...args: unknown[]): unknown;
}

export function readGraphModel(model: GraphModel): ModelReader {
  const executor = (model as unknown as { executor: Executor }).executor;
  const power = { off: false };
  const constants = new GraphConstants(executor);
  const nodes = inOrder(executor._outputs);
  const sites = nodes
    .map((node) => new GraphSite(node, constants, power))
    .filter((site) => site.kind === 'activation' || site.weights.length > 0);
  return makeReader({
    kind: 'graph',
    model,
    sites,
    power,
    base: () => Object.entries(executor.weightMap).flatMap(([name, [tensor]]) => (tensor ? [[name, tensor] as const] : [])),
    own: () => sites.flatMap((site) => site.defaults).map((name) => constants.variable(name)),
    state: () => [],
    install() {
      const undo = hook(executor, nodes, sites);
      return (keep = false) => {
        undo();
        constants.restore(keep);
      };
    },
  });
}

/** All nodes that lead to the outputs, inputs before those who read them. */
function inOrder(outputs: readonly GraphNode[]): readonly GraphNode[] {
  const order = new Set<GraphNode>();
  const seen = new Set<GraphNode>();
  const visit = (node: GraphNode): void => {
    if (seen.has(node)) return;
    seen.add(node);
    node.inputs.forEach(visit);
    order.add(node);
  };
  outputs.forEach(visit);
  return [...order];
}

class GraphConstants implements Constants {
  readonly #executor: Executor;
  readonly #first = new Map<string, tf.Tensor>();

  constructor(executor: Executor) {
    this.#executor = executor;
  }

  tensor(name: string): tf.Tensor {
    return this.#executor.weightMap[name]![0]!;
  }

  variable(name: string): tf.Variable {
    const before = this.tensor(name);
    if (before instanceof tf.Variable) return before;
    const variable = tf.variable(before, true, name in tf.engine().registeredVariables ? undefined : name);
    this.#first.set(name, before);
    this.#put(name, variable);
    return variable;
  }

  assign(name: string, value: tf.Tensor): void {
    const before = this.tensor(name);
    if (before instanceof tf.Variable) before.assign(value);
    else {
      this.#put(name, tf.keep(value.clone()));
      before.dispose();
    }
  }

  restore(keep: boolean): void {
    for (const [name, first] of this.#first) {
      const variable = this.tensor(name);
      this.#put(name, keep ? tf.keep(variable.clone()) : first);
      variable.dispose();
      if (keep) first.dispose();
    }
    this.#first.clear();
  }

  #put(name: string, tensor: tf.Tensor): void {
    this.#executor.weightMap[name]![0] = tensor;
    this.#executor.weightMap = { ...this.#executor.weightMap }; // its setter notes the ids that executeAsync must not dispose
  }
}

/** Knows which node runs, and what runs in its place. */
class Follower implements Interceptor {
  readonly #sites: ReadonlyMap<string, GraphSite>;
  #depth: number | undefined;
  #node: string | undefined;

  constructor(sites: readonly GraphSite[]) {
    this.#sites = new Map(sites.map((site) => [site.name, site]));
  }

  /** Around one run of the graph. */
  run<T>(execute: () => T): T {
    const { state } = tf.engine();
    const depth = state.gradientDepth;
    this.#depth = depth;
    try {
      return execute();
    } finally {
      state.gradientDepth = depth;
      this.#depth = undefined;
      this.#node = undefined;
    }
  }

  enter(node: string): void {
    if (this.#depth === undefined) return;
    this.#node = node;
    // In a gradient tfjs takes fused ops apart; a replaced one stays whole, so that next is the same in training as in predict.
    tf.engine().state.gradientDepth = recording() && this.#replaced() ? 0 : this.#depth;
  }

  label(): string | undefined {
    return this.#node;
  }

  find(kernel: string | undefined): Replacement | undefined {
    const site = this.#replaced();
    if (!site) return undefined;
    const isAnOpOf = site.kind === 'activation' ? !/^(Reshape|Cast|Identity)$/.test(kernel ?? 'Cast') : kernel ? kernel in operands : true;
    return isAnOpOf ? this.#forward(site) : undefined;
  }

  #forward(site: GraphSite): Replacement {
    return (x, next) => {
      tf.engine().state.gradientDepth = this.#depth!;
      return site.run(x, next);
    };
  }

  #replaced(): GraphSite | undefined {
    const site = this.#sites.get(this.#node ?? '');
    return site?.replaced ? site : undefined;
  }
}

function hook(executor: Executor, nodes: readonly GraphNode[], sites: readonly GraphSite[]): Undo {
  const follower = new Follower(sites);
  const undos = nodes.map((node) => {
    const own = Object.getOwnPropertyDescriptor(node, 'category')!;
    const get = () => {
      follower.enter(node.name);
      return own.value;
    };
    Object.defineProperty(node, 'category', { configurable: true, enumerable: true, get });
    return () => Object.defineProperty(node, 'category', own);
  });
  const { execute, executeAsync } = executor;
  executor.execute = (...args) => follower.run(() => execute.apply(executor, args));
  executor.executeAsync = (...args) => {
    const names = sites.filter((site) => site.replaced).map((site) => site.name);
    if (names.length === 0) return executeAsync.apply(executor, args);
    const advice = 'Graphs with control flow cannot be run with techniques that replace nodes.';
    throw new FinetuneError(
      'bad-model',
      'executeAsync',
      `got a model with replaced nodes (${names.join(', ')}); expected predict or execute. ${advice}`,
    );
  };
  const quit = intercept(follower);
  return () => {
    quit();
    for (const undo of undos) undo();
    Reflect.deleteProperty(executor, 'execute');
    Reflect.deleteProperty(executor, 'executeAsync');
  };
}
