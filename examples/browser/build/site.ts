/** Serves or builds the page, from the sources of the packages: `tsx --conditions=@leantune/source build/site.ts start | build | preview`. */
import { build, createServer, preview } from 'vite';
import { config } from './config.ts';

const commands: { readonly [name: string]: () => Promise<unknown> } = {
  start: async () => (await (await createServer(config)).listen()).printUrls(),
  build: () => build(config),
  preview: async () => (await preview(config)).printUrls(),
};
const [name = 'start'] = process.argv.slice(2);
const command = commands[name];
if (!command) throw new Error(`got ${name}; expected one of ${Object.keys(commands).join(', ')}`);
await command();
