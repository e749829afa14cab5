/** All laws of the contract on webgpu, as they hold on cpu. */
import { all, available, testTechnique } from '../src/index.ts';

for (const on of await available(['webgpu'])) for (const [name, subject] of Object.entries(all)) testTechnique(name, subject, { on });
