/** A picture as the page keeps it: a square of 224 pixels, which is what the network was made for. */

export const SIDE = 224;

/** Every fifth picture of a class is not learnt from, but kept to check with. */
export const isHeld = (index: number): boolean => index % 5 === 4;

/** The middle square of an image, on white. Closes the bitmap. */
export function pictureOf(bitmap: ImageBitmap): HTMLCanvasElement {
  const side = Math.min(bitmap.width, bitmap.height);
  const canvas = blank();
  const [left, top] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
  contextOf(canvas).drawImage(bitmap, left, top, side, side, 0, 0, SIDE, SIDE);
  bitmap.close();
  return canvas;
}

/** The pictures of the files, and the names of those that are none. */
export async function picturesOf(files: Iterable<File>): Promise<{ pictures: HTMLCanvasElement[]; refused: string[] }> {
  const pictures: HTMLCanvasElement[] = [];
  const refused: string[] = [];
  for (const file of files) {
    try {
      pictures.push(pictureOf(await createImageBitmap(file)));
    } catch {
      refused.push(file.name);
    }
  }
  return { pictures, refused };
}

export function blank(): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  canvas.width = SIDE;
  canvas.height = SIDE;
  const context = contextOf(canvas);
  context.fillStyle = 'white';
  context.fillRect(0, 0, SIDE, SIDE);
  return canvas;
}

export function copy(canvas: HTMLCanvasElement): HTMLCanvasElement {
  const made = blank();
  contextOf(made).drawImage(canvas, 0, 0);
  return made;
}

export function contextOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const context = canvas.getContext('2d')!;
  context.imageSmoothingQuality = 'high';
  return context;
}
