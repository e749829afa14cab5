/** Node, Deno and Bun; and, bundled by esbuild, Node without node_modules. The argument is a folder for an adapter. */
import { useBackend } from '@leantune/backends';
import * as convbn from '@leantune/convbn';
import * as core from '@leantune/core';
import { summarize } from '@leantune/energy/statistics';
import * as lamda from '@leantune/lamda';
import * as lora from '@leantune/lora';
import * as mixedPrecision from '@leantune/mixed-precision';
import * as s2a from '@leantune/s2a';
import * as transformers from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { exercise } from './exercise.mjs';

await useBackend('wasm');
const packages = { tf, core, convbn, lamda, lora, mixedPrecision, s2a, transformers, summarize };
console.log(JSON.stringify(await exercise(packages, `file://${process.argv[2]}`)));
