/** The contract passes for techniques that keep it; broken.test.ts shows that it fails for those that do not. */
import { useBackend } from '@leantune/backends';
import { all, testTechnique } from '../src/index.ts';

await useBackend('wasm');
for (const [name, subject] of Object.entries(all)) testTechnique(name, subject, { backends: ['wasm'] });
