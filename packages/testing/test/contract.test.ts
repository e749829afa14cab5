import { all, testTechnique } from '../src/index.ts';

for (const [name, subject] of Object.entries(all)) testTechnique(name, subject);
