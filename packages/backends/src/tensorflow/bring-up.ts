/** TensorFlow's own C library, through @tensorflow/tfjs-node or its build for CUDA, with our kernels and errors for want of memory. */
import type { BringUp } from '../bring-up.ts';
import { importPackage } from '../import-package.ts';
import { guardMemory, registerTensorflowKernels, shimNode } from './index.ts';
import { letCallersWork, shareThreads } from './threads.ts';

const packages = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'] as const;

export const tensorflow: BringUp = {
  packages,
  setUp: 'Run: npm install @tensorflow/tfjs-node@^4.22; where it does not load, in a clone of LeanTune: npm run setup:tfjs-node',
  async prepare() {
    shimNode();
    letCallersWork();
    await importPackage('tensorflow', packages);
    registerTensorflowKernels();
  },
  async start(backend) {
    guardMemory(backend);
    shareThreads(backend);
  },
};
