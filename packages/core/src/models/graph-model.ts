/**
 * Reads a GraphModel. Its weights are constants in `executor.weightMap`; one that trains is put there as a variable, and the
 * graph, its gradients and tfjs's own early release of tensors work on as before. Which node runs is seen where the executor reads
 * `node.category`, before each op.
 */

import type { GraphModel } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import { recording } from '../autograd/gradients.ts';
import { FinetuneError } from '../errors.ts';
import { override } from '../override.ts';
import type { Replacement, Undo } from '../technique.ts';
import { constantsOf } from './graph-constants.ts';
import { type GraphSite, graphSite } from './graph-site.ts';
import { intercept, operands } from './intercept.ts';
import { type ModelReader, makeReader } from './model-reader.ts';
import { type Executor, type GraphNode, nodesOf } from './tfjs-converter.ts';

export function readGraphModel(model: GraphModel): ModelReader {
  const { executor } = model as unknown as { executor: Executor };
  const power = { off: false };
  const constants = constantsOf(executor);
  const nodes = nodesOf(executor._outputs);
  const sites = nodes
    .map((node) => graphSite(node, constants, power))
    .filter(({ kind, weights }) => kind === 'activation' || weights.length > 0);
  return makeReader({
    kind: 'graph',
    model,
    sites,
    power,
    base: () => Object.entries(executor.weightMap).flatMap(([name, [tensor]]) => (tensor ? [[name, tensor] as const] : [])),
    assign: constants.assign,
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

/** Knows which node runs, and what runs in its place. */
function followerOf(sites: readonly GraphSite[]) {
  const byName = new Map(sites.map((site) => [site.name, site]));
  const { state } = tf.engine();
  /** The gradientDepth of the run of the graph that is under way. */
  let depth: number | undefined;
  let running: string | undefined;
  const replaced = () => {
    const site = byName.get(running ?? '');
    return site?.replaced ? site : undefined;
  };
  return {
    enter(node: string): void {
      if (depth === undefined) return;
      running = node;
      // In a gradient tfjs takes fused ops apart; a replaced one stays whole, so that next is the same in training as in predict.
      state.gradientDepth = recording() && replaced() ? 0 : depth;
    },
    /** Around one run of the graph. */
    follow<T>(run: () => T): T {
      const before = state.gradientDepth;
      depth = before;
      try {
        return run();
      } finally {
        state.gradientDepth = before;
        depth = running = undefined;
      }
    },
    label: () => running,
    find(kernel: string | undefined): Replacement | undefined {
      const site = replaced();
      if (!site || !standsFor(site, kernel)) return undefined;
      return (...args) => {
        state.gradientDepth = depth!;
        return site.run(...args);
      };
    },
  };
}

/** Whether `kernel` (undefined: a customGrad) is the one that computes what its node is for. */
function standsFor({ kind }: GraphSite, kernel: string | undefined): boolean {
  if (kind === 'activation') return !/^(Reshape|Cast|Identity)$/.test(kernel ?? 'Cast');
  return kernel === undefined || kernel in operands || kernel === tf.Einsum;
}

function hook(executor: Executor, nodes: readonly GraphNode[], sites: readonly GraphSite[]): Undo {
  const follower = followerOf(sites);
  const { execute, executeAsync } = executor;
  const methods = {
    execute: (...args: unknown[]) => follower.follow(() => execute.apply(executor, args)),
    executeAsync(...args: unknown[]) {
      refuseReplaced(sites);
      return executeAsync.apply(executor, args);
    },
  };
  const enterWhenRead = (node: GraphNode) => {
    const { category } = node;
    return override(node, {
      get category() {
        follower.enter(node.name);
        return category;
      },
    });
  };
  const undos = [...nodes.map(enterWhenRead), override(executor, methods), intercept(follower)];
  return () => undos.forEach((undo) => undo());
}

function refuseReplaced(sites: readonly GraphSite[]): void {
  const names = sites.filter((site) => site.replaced).map((site) => site.name);
  if (names.length === 0) return;
  const advice = 'Graphs with control flow cannot be run with techniques that replace nodes.';
  throw new FinetuneError(
    'bad-model',
    'executeAsync',
    `got a model with replaced nodes (${names.join(', ')}); expected predict or execute. ${advice}`,
  );
}
