/**
 * The pairs of a LayersModel: sequential, functional, nested, with shared layers. A pair folds if the norm is all that reads the
 * layer's output, nothing nonlinear lies between, and the norm's axis is that of the channels. A layer that is called several times
 * folds if the same norm follows every time.
 */
import { type LayersPair, layersPair } from './layers-pair.ts';
import type { LeftNorm, Plan } from './pairs-of.ts';
import { type Container, isContainer, isNorm, type Layer, type Norm, type Symbolic, tensorsOf } from './tfjs-layers.ts';

/** Class names of the layers that fold. */
const linear = /^(Dense|Conv[123]D|Conv2DTranspose|DepthwiseConv2D|SeparableConv2D)$/;

/** One call of a layer, in the container that makes it. */
interface Call {
  readonly tensor: Symbolic;
  readonly container: Container;
  /** How many layers of the container read a tensor. An output of the container is read by one more. */
  readonly readers: ReadonlyMap<Symbolic, number>;
}

interface Found {
  readonly conv: Layer;
  readonly padded: boolean;
}

export function layersPlan(root: Container): Plan<LayersPair> {
  const names = namesOf(root);
  const calls = callsOf([root, ...names.keys()].filter(isContainer));
  const plan = { pairs: [] as LayersPair[], left: [] as LeftNorm[], folded: [] };
  for (const [norm, name] of names) {
    if (!isNorm(norm)) continue;
    const found = search(norm, calls);
    if (typeof found === 'string') plan.left.push({ norm: name, reason: found });
    else plan.pairs.push(layersPair({ name: names.get(found.conv)!, layer: found.conv }, { name, layer: norm }, found.padded));
  }
  return plan;
}

/** All layers with their paths, as core names their sites. */
function namesOf(root: Container): ReadonlyMap<Layer, string> {
  const names = new Map<Layer, string>();
  const visit = (layer: Layer, name: string): void => {
    if (names.has(layer)) return;
    names.set(layer, name);
    if (isContainer(layer)) for (const child of layer.layers) visit(child, `${name}/${child.name}`);
  };
  for (const child of root.layers) visit(child, child.name);
  return names;
}

function callsOf(containers: Iterable<Container>): ReadonlyMap<Layer, readonly Call[]> {
  const calls = new Map<Layer, Call[]>();
  for (const container of new Set(containers)) {
    const tensors = tensorsOf(container);
    const readers = new Map<Symbolic, number>();
    const read = (t: Symbolic) => void readers.set(t, (readers.get(t) ?? 0) + 1);
    for (const { inputs } of tensors) inputs.forEach(read);
    container.outputs.forEach(read);
    for (const tensor of tensors) {
      const { sourceLayer } = tensor;
      calls.set(sourceLayer, [...(calls.get(sourceLayer) ?? []), { tensor, container, readers }]);
    }
  }
  return calls;
}

/** The layer that the norm folds into, or why there is none. */
function search(norm: Norm, calls: ReadonlyMap<Layer, readonly Call[]>): Found | string {
  const own = calls.get(norm) ?? [];
  const found = own.map((call) => before(norm, call));
  const fault = found.find((f): f is string => typeof f === 'string');
  const [first] = found as Found[];
  if (fault !== undefined || !first) return fault ?? 'it is never called';
  const { conv, padded } = first;
  if ((found as Found[]).some((f) => f.conv !== conv || f.padded !== padded)) return 'it follows different layers';
  const count = calls.get(conv)!.length;
  if (count !== own.length) return `"${conv.name}" is called ${count} times, and only ${own.length} of them lead here`;
  return first;
}

/** What one call of the norm follows. */
function before(norm: Norm, { tensor, container, readers }: Call): Found | string {
  let padded = false;
  for (let t = tensor.inputs[0]!; ; t = t.inputs[0]!) {
    const layer = t.sourceLayer;
    const type = layer.getClassName();
    if (container.inputs.includes(t)) return 'it follows the input of its model';
    if (readers.get(t) !== 1) return `the output of "${layer.name}" is read by others too`;
    if (linear.test(type)) return fault(norm, layer, tensor.inputs[0]!.shape.length) ?? { conv: layer, padded };
    if (type === 'ZeroPadding2D' && channelsOf(layer, 4) === axisOf(norm, 4)) padded = true;
    else if (!(type === 'Activation' && isLinear(layer))) return `"${layer.name}" (${type}) comes before it`;
  }
}

function fault(norm: Norm, conv: Layer, rank: number): string | undefined {
  if (!isLinear(conv)) return `the activation of "${conv.name}" (${conv.activation!.getClassName()}) comes between`;
  const [axis, channels] = [axisOf(norm, rank), channelsOf(conv, rank)];
  if (axis !== channels) return `it normalizes axis ${axis}; the channels of "${conv.name}" are axis ${channels}`;
  return undefined;
}

const isLinear = ({ activation }: Layer): boolean => !activation || activation.getClassName() === 'linear';
/** Files of Keras have the axis as a list of one. */
const axisOf = ({ axis }: Norm, rank: number): number => (Number(axis) + rank) % rank;
const channelsOf = ({ dataFormat }: Layer, rank: number): number => (dataFormat === 'channelsFirst' ? 1 : rank - 1);
