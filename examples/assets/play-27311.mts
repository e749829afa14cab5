import * as tf from '@tensorflow/tfjs';
import { useBackend } from '@leantune/backends';
import { valueAndGrads } from '@leantune/core';
import { quickDraw, mobilenetV2 } from '@leantune/assets';
const arg = (k: string, d: number) => Number(process.argv.find(a => a.startsWith(k + '='))?.split('=')[1] ?? d);
await useBackend('wasm');
const size = arg('size', 96), batch = arg('batch', 16), epochs = arg('epochs', 3), lr = arg('lr', 3e-4), n = arg('n', 700), headEpochs = arg('head', 0);
const classes = process.argv.find(a => a.startsWith('classes='))?.split('=')[1]?.split(',');
const d = await quickDraw({ size, train: n, test: 300, ...(classes ? { classes } : {}) });
const backbone = await mobilenetV2({ size });
const k = d.classes.length;
const head = tf.sequential({ layers: [tf.layers.dense({ units: k, activation: 'softmax', inputShape: [1280], kernelInitializer: tf.initializers.glorotUniform({ seed: 1 }) })] });
const ev = () => { const t = Date.now(); let hit = 0, loss = 0; for (let i = 0; i < 300; i += 50) tf.tidy(() => { const p = head.predict(backbone.predict(d.test.images.slice([i], [50]))) as tf.Tensor; const y = d.test.labels.slice([i], [50]); hit += p.argMax(-1).equal(y.argMax(-1)).sum().dataSync()[0]!; loss += tf.metrics.categoricalCrossentropy(y, p).sum().dataSync()[0]!; }); return `val loss ${(loss / 300).toFixed(3)} acc ${(hit / 300).toFixed(3)} (${Date.now() - t} ms)`; };
console.log(process.argv.slice(2).join(' '), 'before', ev());
if (headEpochs) { let t = Date.now(); const f = tf.concat(Array.from({ length: n / 50 }, (_, i) => tf.tidy(() => backbone.predict(d.train.images.slice([i * 50], [50])) as tf.Tensor))); head.compile({ optimizer: tf.train.adam(arg('hlr', 3e-3)), loss: 'categoricalCrossentropy' }); await head.fit(f, d.train.labels, { epochs: headEpochs, batchSize: 32, shuffle: false, verbose: 0 }); console.log('head', Date.now() - t, 'ms', ev()); }
const vars = [...backbone.trainableWeights, ...head.trainableWeights].map(w => (w as any).val as tf.Variable);
const opt = tf.train.adam(lr); const steps = Math.ceil(n / batch);
for (let e = 0; e < epochs; e++) { const t = Date.now(); let sum = 0;
  for (let s = 0; s < steps; s++) { const x = d.train.images.slice([s * batch], [Math.min(batch, n - s * batch)]), y = d.train.labels.slice([s * batch], [x.shape[0]]);
    opt.setLearningRate?.call; (opt as any).learningRate = lr * (arg('decay', 1) ? 1 - (e * steps + s) / (epochs * steps) : 1);
    const { value, grads } = valueAndGrads(() => tf.tidy(() => tf.metrics.categoricalCrossentropy(y, head.apply(backbone.apply(x) as tf.Tensor) as tf.Tensor).mean() as tf.Scalar), vars); opt.applyGradients(grads as any); sum += value.dataSync()[0]!; tf.dispose([x, y, value, grads as any]); }
  console.log(e, Date.now() - t, 'ms', (sum / steps).toFixed(3), ev()); }
