import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Tests read the sources of every workspace package: no build is needed.
  resolve: { conditions: ['@leantune/source'] },
  ssr: { resolve: { conditions: ['@leantune/source'], externalConditions: ['@leantune/source'] } },
  test: {
    pool: 'forks',
    include: ['{packages/*,examples/*,benchmarks}/test/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/dist/**'],
    testTimeout: 300_000, // a software GPU compiles each new shader for a second or more
  },
});
