/** The contract passes for techniques that keep it; broken.test.ts shows that it fails for those that do not. */
import { all, available, testTechnique } from '../src/index.ts';

const backends = await available(['wasm', 'tensorflow', 'webgpu']);
for (const [name, subject] of Object.entries(all)) testTechnique(name, subject, { backends });
