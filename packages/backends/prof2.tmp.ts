import * as tf from '@tensorflow/tfjs';
import { useBackend } from './src/index.ts';
await useBackend('wasm');
const B=8,T=64,D=384,H=12,LY=2,V=5000; const v=(s:number[])=>tf.variable(tf.randomNormal(s,0,0.02));
const emb=v([V,D]),pos=v([T,D]); const layers=Array.from({length:LY},()=>({q:v([D,D]),k:v([D,D]),v:v([D,D]),o:v([D,D]),qb:v([D]),kb:v([D]),vb:v([D]),ob:v([D]),g1:v([D]),b1:v([D]),g2:v([D]),b2:v([D]),f1:v([D,4*D]),c1:v([4*D]),f2:v([4*D,D]),c2:v([D])}));
const head=v([D,4]); const ids=tf.randomUniform([B,T],0,V,'int32'); const y=tf.oneHot(tf.range(0,B).mod(4).toInt(),4);
const ln=(x:tf.Tensor,g:tf.Tensor,b:tf.Tensor)=>{const {mean,variance}=tf.moments(x,-1,true);return x.sub(mean).mul(variance.add(1e-12).rsqrt()).mul(g).add(b);};
const gelu=(x:tf.Tensor)=>x.mul(tf.erf(x.mul(Math.SQRT1_2)).add(1)).mul(0.5);
const lin=(x:tf.Tensor,w:tf.Tensor,b:tf.Tensor)=>tf.matMul(x.reshape([-1,w.shape[0]!]),w).add(b);
const f=()=>{let x:tf.Tensor=tf.gather(emb,ids).add(pos); for(const l of layers){const h=(w:tf.Tensor,b:tf.Tensor)=>lin(x,w,b).reshape([B,T,H,D/H]).transpose([0,2,1,3]);
 const a=tf.softmax(tf.matMul(h(l.q,l.qb),h(l.k,l.kb),false,true).div(Math.sqrt(D/H))); const c=tf.matMul(a,h(l.v,l.vb)).transpose([0,2,1,3]).reshape([B*T,D]);
 x=ln(x.add(lin(c,l.o,l.ob).reshape([B,T,D])),l.g1,l.b1); x=ln(x.add(lin(gelu(lin(x,l.f1,l.c1)),l.f2,l.c2).reshape([B,T,D])),l.g2,l.b2);} 
 return tf.losses.softmaxCrossEntropy(y,tf.matMul(x.mean(1) as tf.Tensor2D,head as any)) as tf.Scalar;};
const opt=tf.train.adam(1e-4); const step=()=>tf.tidy(()=>{opt.minimize(f);});
step(); const times=new Map<string,[number,number]>(); let depth=0;
for(const k of tf.getKernelsForBackend('wasm')!){ const g=k.kernelFunc; tf.unregisterKernel(k.kernelName,'wasm'); tf.registerKernel({...k,kernelFunc:(a)=>{depth++;const s=performance.now();try{return g(a);}finally{depth--;if(depth===0){const e=times.get(k.kernelName)??[0,0];e[0]+=performance.now()-s;e[1]++;times.set(k.kernelName,e);}}}});}
const N=3; const t0=performance.now(); for(let i=0;i<N;i++) step(); const total=(performance.now()-t0)/N;
const rows=[...times].sort((a,b)=>b[1][0]-a[1][0]).slice(0,18); console.log('step ms',total.toFixed(1),'heap MB',((tf.backend() as any).wasm.HEAPU8.length/1e6).toFixed(0)); for(const [k,[ms,n]] of rows) console.log(k.padEnd(40),(ms/N).toFixed(1).padStart(8),'ms',(n/N).toFixed(0).padStart(5));
console.log('flops GF', (3*2*B*T*LY*(4*D*D+8*D*D+2*T*D)/1e9).toFixed(1));
