/**
 * Tensors of another shape on the same data: reshapes, and casts to the type there is.
 *
 * TensorFlow copies nothing for them, but tfjs-node gives the result data of its own, so that one buffer goes by two names: counted twice,
 * kept twice, coded twice. Here it is a second handle, as on every other backend. An op takes shapes from TensorFlow's tensors, so the
 * shape that a handle has is put on for the op that reads it, and freed behind it: a buffer that an optimizer is to write to in place may be seen
 * by nothing else.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Kernel, type KernelMap, type StockKernel, viewAs } from '../kernels.ts';
import { type Binding, DType, type TensorflowBackend } from './binding.ts';

type TensorflowKernel = Kernel<TensorflowBackend, tf.TensorInfo>;

const reading = new WeakSet<object>();

/** Lets every op of `backend` read a tensor in the shape its handle has. A second call does nothing. */
function readShapes(backend: TensorflowBackend): void {
  if (reading.has(backend)) return;
  reading.add(backend);
  const { binding, tensorMap } = backend;
  const stock = backend.getInputTensorIds;
  let shaped: number[] = [];
  const attr = (name: string, value: number) => ({ name, type: binding.TF_ATTR_TYPE, value });
  const inShape = ({ dataId, shape }: tf.TensorInfo, id: number): number => {
    const entry = dataId && tensorMap.get(dataId); // a constant of tfjs-node's for int64 has none
    if (!entry || tf.util.arraysEqual(entry.shape as number[], shape)) return id;
    const to = binding.createTensor([shape.length], DType.int32, Int32Array.from(shape));
    shaped.push(to);
    const [view] = binding.executeOp('Reshape', [attr('T', entry.dtype), attr('Tshape', DType.int32)], [id, to], 1);
    shaped.push(view!.id);
    return view!.id;
  };
  const executeOp: Binding['executeOp'] = (...op) => {
    try {
      return binding.executeOp(...op);
    } finally {
      const gone = shaped;
      shaped = [];
      for (const id of gone) binding.deleteTensor(id);
    }
  };
  Object.assign(backend, {
    getInputTensorIds: (tensors: readonly tf.TensorInfo[]) => stock.call(backend, tensors).map((id, i) => inShape(tensors[i]!, id)),
    binding: Object.create(binding, { executeOp: { value: executeOp } }), // the addon's own properties are read-only
  });
}

function view(backend: TensorflowBackend, x: tf.TensorInfo, shape: number[]): tf.TensorInfo {
  readShapes(backend);
  backend.incRef(x.dataId);
  return viewAs(x, shape);
}

const reshape: TensorflowKernel = (inputs, attrs, backend) => {
  const x = inputs['x']!;
  return view(backend, x, tf.util.inferFromImplicitShape(attrs['shape'], tf.util.sizeFromShape(x.shape)));
};

const expandDims: TensorflowKernel = (inputs, { dim }, backend) => {
  const x = inputs['input']!;
  return view(backend, x, x.shape.toSpliced(dim < 0 ? x.shape.length + 1 + dim : dim, 0, 1));
};

export const views = (stock: StockKernel<TensorflowBackend, tf.TensorInfo>): KernelMap<TensorflowBackend, tf.TensorInfo> => {
  const cast = stock(tf.Cast);
  return {
    [tf.Reshape]: reshape,
    [tf.ExpandDims]: expandDims,
    [tf.Cast]: (inputs, attrs, backend) => {
      const x = inputs['x']!;
      return x.dtype === attrs['dtype'] ? view(backend, x, x.shape) : cast(inputs, attrs, backend);
    },
  };
};
