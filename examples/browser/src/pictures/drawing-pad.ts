/** A canvas to draw on with mouse, finger or pen; and by keyboard with arrows, while the space bar holds the pen down. */
import { blank, contextOf, copy, SIDE } from './picture.ts';

const WIDTH = 8;
const STEP = 6;
const moves: { readonly [key: string]: readonly [number, number] } = {
  ArrowLeft: [-STEP, 0],
  ArrowRight: [STEP, 0],
  ArrowUp: [0, -STEP],
  ArrowDown: [0, STEP],
};

export class DrawingPad {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  /** Where the pen is; where it began is the middle. */
  #pen: readonly [number, number] = [SIDE / 2, SIDE / 2];
  #down = false;

  constructor(canvas: HTMLCanvasElement, onStroke: () => void = () => {}) {
    this.#canvas = canvas;
    canvas.width = canvas.height = SIDE;
    this.#context = contextOf(canvas);
    this.clear();
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#pen = this.#at(event);
      this.#to(this.#pen);
    });
    canvas.addEventListener('pointermove', (event) => void (event.buttons && this.#to(this.#at(event))));
    canvas.addEventListener('pointerup', onStroke);
    canvas.addEventListener('keydown', (event) => this.#key(event));
    canvas.addEventListener('keyup', (event) => {
      if (event.key !== ' ') return;
      this.#down = false;
      onStroke();
    });
  }

  clear(): void {
    this.show(blank());
    this.#pen = [SIDE / 2, SIDE / 2];
  }

  show(picture: HTMLCanvasElement): void {
    this.#context.drawImage(picture, 0, 0);
  }

  picture(): HTMLCanvasElement {
    return copy(this.#canvas);
  }

  #at({ offsetX, offsetY }: PointerEvent): readonly [number, number] {
    const scale = SIDE / this.#canvas.clientWidth;
    return [offsetX * scale, offsetY * scale];
  }

  #key(event: KeyboardEvent): void {
    const move = moves[event.key];
    if (event.key === ' ') this.#down = true;
    else if (!move) return;
    event.preventDefault();
    const to = [0, 1].map((axis) => Math.min(SIDE, Math.max(0, this.#pen[axis]! + (move?.[axis] ?? 0)))) as [number, number];
    if (this.#down) this.#to(to);
    else this.#pen = to;
  }

  #to(point: readonly [number, number]): void {
    Object.assign(this.#context, { lineWidth: WIDTH, lineCap: 'round', strokeStyle: 'black' });
    this.#context.beginPath();
    this.#context.moveTo(...this.#pen);
    this.#context.lineTo(...point);
    this.#context.stroke();
    this.#pen = point;
  }
}
