/** The ready-made set: 60 sketches in 3 classes, cut out of one picture. */
import { pictureOf } from './picture.ts';

export async function readyMade(): Promise<{ name: string; pictures: HTMLCanvasElement[] }[]> {
  const { classes }: { classes: string[] } = await (await fetch('samples/samples.json')).json();
  const sheet = await createImageBitmap(await (await fetch('samples/samples.png')).blob());
  const side = sheet.height / classes.length;
  const cut = async (column: number, row: number) => pictureOf(await createImageBitmap(sheet, column * side, row * side, side, side));
  return Promise.all(
    classes.map(async (name, row) => ({
      name,
      pictures: await Promise.all(Array.from({ length: sheet.width / side }, (_, column) => cut(column, row))),
    })),
  );
}
