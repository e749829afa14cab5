import { useBackend } from '@leantune/backends';
import { fromPretrained, generate, lossModel, meanLoss } from '@leantune/transformers';
import { storiesCheckpoint } from '@leantune/assets';
import * as tf from '@tensorflow/tfjs';
await useBackend('wasm');
const model = await fromPretrained(await storiesCheckpoint());
const trainer = lossModel(model);
let t = Date.now();
const stories: number[][] = [];
for (let i = 0; i < 6; i++) { const s = await generate(model, [1], { maxTokens: 127, temperature: 1, seed: i }); stories.push([1, ...s]); }
console.log('gen ms/token', (Date.now() - t) / (6 * 127));
const loss = () => tf.tidy(() => { const x = tf.tensor2d(stories, undefined, 'int32'); return meanLoss(x, trainer.predict([x, x]) as tf.Tensor).dataSync()[0]!; });
t = Date.now(); const base = loss(); console.log('ppl', Math.exp(base), 'ms', Date.now() - t);
const NF4 = [-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1];
type Q = (b: Float32Array) => void;
const nf4: Q = (b) => { let m = 0; for (const v of b) m = Math.max(m, Math.abs(v)); m = Math.fround(m); for (let i = 0; i < b.length; i++) { const x = b[i]! / m; let k = 0; for (let j = 1; j < 16; j++) if (Math.abs(NF4[j]! - x) < Math.abs(NF4[k]! - x)) k = j; b[i] = NF4[k]! * m; } };
const nf4s: Q = (b) => { let m = 0; for (const v of b) m = Math.max(m, Math.abs(v)); let best = Infinity, bs = m; for (let f = 0.7; f <= 1.001; f += 0.025) { const s = m * f; let e = 0; for (const v of b) { const x = v / s; let d = Infinity; for (const c of NF4) d = Math.min(d, Math.abs(c - x)); e += (d * s) ** 2; } if (e < best) { best = e; bs = s; } } for (let i = 0; i < b.length; i++) { const x = b[i]! / bs; let k = 0; for (let j = 1; j < 16; j++) if (Math.abs(NF4[j]! - x) < Math.abs(NF4[k]! - x)) k = j; b[i] = NF4[k]! * bs; } };
const int8: Q = (b) => { let m = 0; for (const v of b) m = Math.max(m, Math.abs(v)); const s = m / 127; for (let i = 0; i < b.length; i++) b[i] = Math.round(b[i]! / s) * s; };
const int4a: Q = (b) => { let lo = Infinity, hi = -Infinity; for (const v of b) { lo = Math.min(lo, v); hi = Math.max(hi, v); } const s = (hi - lo) / 15; for (let i = 0; i < b.length; i++) b[i] = lo + Math.round((b[i]! - lo) / s) * s; };
const keep = model.layers.map((l) => l.getWeights().map((w) => w.clone()));
for (const [name, q, g] of [['nf4', nf4, 64], ['nf4', nf4, 48], ['nf4 search', nf4s, 64], ['nf4 search 48', nf4s, 48], ['nf4s 32', nf4s, 32], ['int4a', int4a, 64], ['int4a', int4a, 32], ['int8', int8, 64]] as const) {
  for (const which of ['all', 'linear', 'embed']) {
  model.layers.forEach((l, i) => {
    const cls = l.getClassName();
    let ws = keep[i]!;
    if ((cls === 'Linear' && which !== 'embed') || (cls === 'TokenEmbedding' && which !== 'linear')) {
      const [w] = ws; const tr = cls === 'Linear' ? w!.transpose() : w!; // group along input
      const v = Float32Array.from(tr.dataSync()); for (let a = 0; a < v.length; a += g) q(v.subarray(a, Math.min(a + g, v.length)));
      const nt = tf.tensor(v, tr.shape); ws = [cls === 'Linear' ? nt.transpose() : nt, ...ws.slice(1)];
    }
    if (ws.length) l.setWeights(ws);
  });
  console.log(name, g, which, Math.exp(loss()), (Math.exp(loss()) / Math.exp(base) - 1) * 100, '%');
  if (name === 'int8') break;
  }
}
