/** CommonJS in Node. The packages are ES modules, which `require` takes since Node 20.19 and 22.12. The argument is as in main.mjs. */
const { useBackend } = require('@leantune/backends');
const packages = {
  tf: require('@tensorflow/tfjs'),
  core: require('@leantune/core'),
  convbn: require('@leantune/convbn'),
  lamda: require('@leantune/lamda'),
  lora: require('@leantune/lora'),
  mixedPrecision: require('@leantune/mixed-precision'),
  s2a: require('@leantune/s2a'),
  transformers: require('@leantune/transformers'),
  summarize: require('@leantune/energy/statistics').summarize,
};
const { exercise } = require('./exercise.mjs');

useBackend('wasm')
  .then(() => exercise(packages, `file://${process.argv[2]}`))
  .then((report) => console.log(JSON.stringify(report)));
