/**
 * Reads a GraphModel. Its weights are constants in `executor.weightMap`; one that trains is put there as a variable, and the
 * graph, its gradients and tfjs's own early release of tensors work on as before. Which node runs is seen where the executor reads
 * `node.category`, before each op.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { GraphModel } from '@tensorflow/tfjs-converter';
import { FinetuneError } from '../errors.ts';
import { recording } from '../gradients.ts';
import { selectSites, selectWeights, switchedOff } from '../sites.ts';
import { type Constants, type GraphNode, GraphSite } from './graph-site.ts';
import { intercept, operands } from './intercept.ts';
import type { ModelReader } from './model-reader.ts';

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
  const sites = nodes.map((node) => new GraphSite(node, constants, power)).filter((site) => site.kind === 'activation' || site.weights.length > 0);
  const byDefault = [...new Set(sites.flatMap((site) => site.defaults))];
  const all = () => Object.entries(executor.weightMap).flatMap(([name, [tensor]]) => (tensor ? [[name, tensor] as const] : []));
  return {
    kind: 'graph',
    model,
    get weights() {
      return all().map(([, tensor]) => tensor);
    },
    sites: (filter, who = 'sites') => selectSites(sites, filter, who),
    trainable: (filter, who = 'finetune') => [
      ...new Set(filter === undefined ? byDefault.map((name) => constants.variable(name)) : selectWeights(sites, filter, who).map((w) => w.variable())),
    ],
    nameOf: (variable) => all().find(([, tensor]) => tensor === variable)?.[0],
    fingerprint: () => all().map(([name, { shape, dtype }]) => ({ name, shape, dtype })),
    state: () => [],
    disabled: (run) => switchedOff(power, run),
    install() {
      const undo = hook(executor, nodes, new Map(sites.map((site) => [site.name, site])));
      return (keep = false) => {
        undo();
        constants.restore(keep);
      };
    },
  };
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
    if (before instanceof tf.Variable) return before.assign(value);
    this.#put(name, tf.keep(value.clone()));
    before.dispose();
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

/** Follows the executor from node to node. */
function hook(executor: Executor, nodes: readonly GraphNode[], sites: ReadonlyMap<string, GraphSite>): () => void {
  const { state } = tf.engine();
  let running = false;
  let depth = 0;
  let current: string | undefined;
  const replaced = () => {
    const site = current === undefined ? undefined : sites.get(current);
    return site?.replacements.active ? site : undefined;
  };
  const enter = (node: GraphNode) => {
    if (!running) return;
    current = node.name;
    // In a gradient tfjs takes fused ops apart; a replaced one stays whole, so that next is the same in training as in predict.
    state.gradientDepth = recording() && replaced() ? 0 : depth;
  };
  const undos = nodes.map((node) => {
    const own = Object.getOwnPropertyDescriptor(node, 'category')!;
    Object.defineProperty(node, 'category', { configurable: true, enumerable: true, get: () => (enter(node), own.value) });
    return () => Object.defineProperty(node, 'category', own);
  });
  const { execute, executeAsync } = executor;
  executor.execute = (...args) => {
    [running, depth] = [true, state.gradientDepth];
    try {
      return execute.apply(executor, args);
    } finally {
      running = false;
      current = undefined;
      state.gradientDepth = depth;
    }
  };
  executor.executeAsync = (...args) => {
    const names = [...sites.values()].filter((site) => site.replacements.active).map((site) => site.name);
    if (names.length === 0) return executeAsync.apply(executor, args);
    throw new FinetuneError('bad-model', 'finetune', `got executeAsync on a model with replaced nodes (${names.join(', ')}); expected predict or execute. Only graphs without control flow can be run with techniques that replace nodes.`);
  };
  const quit = intercept({
    label: () => current,
    find(kernel, inputs) {
      const site = replaced();
      const isMain = kernel === undefined ? site?.type.includes('Fused') : site?.kind === 'activation' ? !/^(Reshape|Cast|Identity)$/.test(kernel) : kernel in operands;
      if (!site || !isMain) return undefined;
      return (x, next) => {
        state.gradientDepth = depth;
        return site.replacements.run(x, next);
      };
    },
  });
  return () => {
    quit();
    for (const undo of undos) undo();
    Reflect.deleteProperty(executor, 'execute');
    Reflect.deleteProperty(executor, 'executeAsync');
  };
}
