// Prints a TypeScript module that carries a wasm binary as base64, once it is sure that the binary owns no memory of its own.
import { readFileSync } from 'node:fs';

const [file, variant] = process.argv.slice(2);
const bytes = readFileSync(file);
const DATA = 11;
for (let at = 8; at < bytes.length; ) {
  const section = bytes[at++];
  let size = 0;
  for (let shift = 0, more = true; more; shift += 7) {
    more = bytes[at] >= 128;
    size |= (bytes[at++] & 127) << shift;
  }
  if (section === DATA) throw new Error(`${file} has a data section; it would overwrite the heap of tfjs`);
  at += size;
}
const { imports, exports } = WebAssembly.Module;
const module = new WebAssembly.Module(bytes);
if (imports(module).length !== 1 || exports(module).some(({ kind }) => kind === 'memory'))
  throw new Error(`${file} must import the memory alone`);
process.stdout.write(`// Made by scripts/build-native.sh from native/*.c (${bytes.length} bytes). Do not edit.
export const ${variant}: string =
  '${bytes.toString('base64')}';
`);
