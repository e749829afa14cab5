/** The classes of pictures on the page. */
import { copyOf, find } from '../element.ts';
import type { Example } from '../training/messages.ts';
import { ClassCard } from './class-card.ts';
import { isHeld } from './picture.ts';

export interface AlbumEvents {
  /** Pictures or classes came or went. */
  changed(): void;
  /** Something to tell the person. */
  say(message: string): void;
  /** Opens the drawing pad; calls back with what was drawn. */
  draw(name: string, add: (picture: HTMLCanvasElement) => void): void;
}

export class Album {
  readonly #list: HTMLElement;
  readonly #events: AlbumEvents;
  #cards: ClassCard[] = [];

  constructor(list: HTMLElement, events: AlbumEvents) {
    this.#list = list;
    this.#events = events;
  }

  add(name = `Class ${this.#cards.length + 1}`): ClassCard {
    const card = new ClassCard(copyOf('#class-card'), name, this.#events, () => this.#remove(card));
    this.#cards.push(card);
    this.#list.append(card.root);
    this.#events.changed();
    return card;
  }

  /** Takes the place of what is there. */
  show(classes: readonly { readonly name: string; readonly pictures: readonly HTMLCanvasElement[] }[]): void {
    this.#cards = [];
    this.#list.replaceChildren();
    for (const { name, pictures } of classes) this.add(name).add(pictures);
  }

  get classes(): readonly string[] {
    return this.#cards.map(({ name }) => name);
  }

  /** Why it cannot be trained on, or nothing. */
  fault(): string {
    if (this.#cards.length < 2) return 'Two classes are needed to tell apart. Add a class.';
    const empty = this.#cards.filter(({ pictures }) => pictures.length === 0).map(({ name }) => `“${name}”`);
    if (empty.length > 0) return `No pictures yet in ${empty.join(', ')}. Drop some, draw some, or take the class away.`;
    const twice = this.classes.filter((name, i, all) => name === '' || all.indexOf(name) !== i);
    return twice.length > 0 ? 'Every class needs a name of its own.' : '';
  }

  /** Copies for the worker. */
  examples(): Promise<Example[]> {
    return Promise.all(
      this.#cards.flatMap(({ pictures }, label) =>
        pictures.map(async (picture, i) => ({ bitmap: await createImageBitmap(picture), label, held: isHeld(i) })),
      ),
    );
  }

  #remove(card: ClassCard): void {
    this.#cards = this.#cards.filter((other) => other !== card);
    card.root.remove();
    find('#add-class').focus();
    this.#events.changed();
  }
}
