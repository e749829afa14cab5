import * as tf from '@tensorflow/tfjs';
import { useBackend } from './src/index.ts';
await useBackend('wasm');
const alpha=+(process.argv[2]??0.35), size=+(process.argv[3]??96), batch=+(process.argv[4]??16);
const md=(v:number)=>{const n=Math.max(8,Math.floor((v*alpha+4)/8)*8);return n<0.9*v*alpha?n+8:n;};
const L=tf.layers; const input=tf.input({shape:[size,size,3]}); 
const bn=(x:any)=>L.batchNormalization({}).apply(x); const r6=(x:any)=>L.reLU({maxValue:6}).apply(x);
let x:any=r6(bn(L.conv2d({filters:md(32),kernelSize:3,strides:2,padding:'same',useBias:false}).apply(input)));
let cin=md(32);
for (const [t,c,n,s] of [[1,16,1,1],[6,24,2,2],[6,32,3,2],[6,64,4,2],[6,96,3,1],[6,160,3,2],[6,320,1,1]] as number[][]) for(let i=0;i<n!;i++){ const out=md(c!); let y=x; const st=i===0?s!:1;
 if(t!>1) y=r6(bn(L.conv2d({filters:cin*t!,kernelSize:1,padding:'same',useBias:false}).apply(y)));
 y=r6(bn(L.depthwiseConv2d({kernelSize:3,strides:st,padding:'same',useBias:false}).apply(y)));
 y=bn(L.conv2d({filters:out,kernelSize:1,padding:'same',useBias:false}).apply(y)); if(st===1&&cin===out) y=L.add().apply([x,y]); x=y; cin=out; }
x=r6(bn(L.conv2d({filters:1280,kernelSize:1,useBias:false}).apply(x))); x=L.globalAveragePooling2d({}).apply(x); x=L.dense({units:10,activation:'softmax'}).apply(x);
const model=tf.model({inputs:input,outputs:x}); model.compile({optimizer:tf.train.sgd(0.01),loss:'categoricalCrossentropy'});
const X=tf.randomNormal([batch,size,size,3]),Y=tf.oneHot(tf.range(0,batch).mod(10).toInt(),10).toFloat();
const times=new Map<string,[number,number]>(); let depth=0;
await model.trainOnBatch(X,Y);
for(const k of tf.getKernelsForBackend('wasm')!){ const f=k.kernelFunc; tf.unregisterKernel(k.kernelName,'wasm'); tf.registerKernel({...k,kernelFunc:(a)=>{depth++;const s=performance.now();try{return f(a);}finally{depth--;if(depth===0){const e=times.get(k.kernelName)??[0,0];e[0]+=performance.now()-s;e[1]++;times.set(k.kernelName,e);}}}});}
const N=3; const t0=performance.now(); for(let i=0;i<N;i++) await model.trainOnBatch(X,Y); const total=(performance.now()-t0)/N;
const rows=[...times].sort((a,b)=>b[1][0]-a[1][0]).slice(0,22); console.log('step ms',total.toFixed(1),'heap MB',((tf.backend() as any).wasm.HEAPU8.length/1e6).toFixed(0)); for(const [k,[ms,n]] of rows) console.log(k.padEnd(40),(ms/N).toFixed(1).padStart(8),'ms',(n/N).toFixed(0).padStart(5));
console.log('kernels total',([...times.values()].reduce((s,v)=>s+v[0],0)/N).toFixed(1)); 
const p=performance.now(); for(let i=0;i<5;i++) tf.tidy(()=>(model.predict(X) as any).dataSync()); console.log('predict ms', ((performance.now()-p)/5).toFixed(1)); const p2=performance.now();
