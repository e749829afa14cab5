/** One class: its name, its pictures, and the ways to add some. */
import { find } from '../element.ts';
import type { AlbumEvents } from './album.ts';
import { acceptDrops } from './drop.ts';
import { isHeld, picturesOf } from './picture.ts';

export class ClassCard {
  readonly root: HTMLElement;
  readonly #events: AlbumEvents;
  #pictures: HTMLCanvasElement[] = [];

  constructor(root: HTMLElement, name: string, events: AlbumEvents, onRemove: () => void) {
    this.root = root;
    this.#events = events;
    this.#input.value = name;
    this.#input.addEventListener('input', () => events.changed());
    const files = find<HTMLInputElement>('input[type=file]', root);
    files.addEventListener('change', async () => {
      await this.#take(Array.from(files.files ?? []));
      files.value = '';
    });
    acceptDrops(root, (dropped) => this.#take(dropped));
    find('.draw', root).addEventListener('click', () => events.draw(this.name, (picture) => this.add([picture])));
    find('.remove', root).addEventListener('click', onRemove);
    this.#show();
  }

  get #input(): HTMLInputElement {
    return find<HTMLInputElement>('.name', this.root);
  }

  get name(): string {
    return this.#input.value.trim();
  }

  get pictures(): readonly HTMLCanvasElement[] {
    return this.#pictures;
  }

  add(pictures: readonly HTMLCanvasElement[]): void {
    this.#pictures.push(...pictures);
    this.#show();
    this.#events.changed();
  }

  async #take(files: readonly File[]): Promise<void> {
    const { pictures, refused } = await picturesOf(files);
    this.add(pictures);
    if (refused.length > 0) this.#events.say(`Not added, for they could not be read as pictures: ${refused.join(', ')}.`);
  }

  #show(): void {
    const held = this.#pictures.filter((_, i) => isHeld(i)).length;
    const count = this.#pictures.length;
    find('.count', this.root).textContent = count === 0 ? 'none yet' : `${count}, of them ${held} to check with`;
    find('.thumbnails', this.root).replaceChildren(...this.#pictures.map((picture, i) => this.#thumbnail(picture, i)));
  }

  #thumbnail(picture: HTMLCanvasElement, i: number): HTMLElement {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = isHeld(i) ? 'thumbnail held' : 'thumbnail';
    button.ariaLabel = `Take away picture ${i + 1}${isHeld(i) ? ', which is kept to check with' : ''}`;
    button.title = button.ariaLabel;
    button.append(picture);
    button.addEventListener('click', () => {
      this.#pictures = this.#pictures.filter((other) => other !== picture);
      this.#show();
      this.#events.changed();
    });
    return button;
  }
}
