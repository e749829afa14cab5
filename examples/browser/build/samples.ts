/** The ready-made set: sketches of Quick, Draw! (Google, CC BY 4.0) as one picture, a row a class. */
import { quickDraw } from '@leantune/assets';
import { PNG } from 'pngjs';
import '@tensorflow/tfjs'; // tensors with methods, which the assets call

export const SAMPLE_CLASSES: readonly string[] = ['cat', 'fish', 'star'];
const PER_CLASS = 20;
const SIDE = 28;

export async function samplesPng(): Promise<Buffer> {
  const classes = SAMPLE_CLASSES.length;
  const { train, dispose } = await quickDraw({ classes: SAMPLE_CLASSES, train: PER_CLASS * classes, test: classes, size: SIDE });
  const values = await train.images.data(); // [60, 28, 28, 3] in [-1, 1], the classes in turn
  dispose();
  const png = new PNG({ width: PER_CLASS * SIDE, height: classes * SIDE });
  for (let i = 0; i < SIDE * SIDE * PER_CLASS * classes; i++) {
    const [image, pixel] = [Math.floor(i / SIDE ** 2), i % SIDE ** 2];
    const x = Math.floor(image / classes) * SIDE + (pixel % SIDE);
    const y = (image % classes) * SIDE + Math.floor(pixel / SIDE);
    const gray = Math.round((values[3 * i]! + 1) * 127.5);
    png.data.set([gray, gray, gray, 255], 4 * (y * png.width + x));
  }
  return PNG.sync.write(png, { colorType: 0 });
}
