/** How Vite builds the page. */
import { fileURLToPath } from 'node:url';
import { defaultClientConditions, type InlineConfig } from 'vite';
import { offline } from './offline.ts';
import { pretrained } from './pretrained.ts';

export const config: InlineConfig = {
  configFile: false,
  root: fileURLToPath(new URL('..', import.meta.url)),
  base: './', // the built page may lie in any folder
  resolve: { conditions: ['@leantune/source', ...defaultClientConditions] }, // the packages need no build of their own
  plugins: [pretrained(), offline()],
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 4000, // tfjs with three backends
    rolldownOptions: { checks: { ineffectiveDynamicImport: false } }, // here all of it is used
  },
};
