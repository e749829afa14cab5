/** tfjs-backend-cpu: plain JavaScript, the reference. */
import type { BringUp } from '../bring-up.ts';
import { importPackage } from '../import-package.ts';
import { registerCpuKernels } from './index.ts';

const packages = ['@tensorflow/tfjs-backend-cpu'] as const;

export const cpu: BringUp = {
  packages,
  setUp: 'Run: npm install @tensorflow/tfjs-backend-cpu@^4.22',
  async prepare() {
    await importPackage('cpu', packages);
    registerCpuKernels();
  },
};
