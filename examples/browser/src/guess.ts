/** The panel that tries what was learnt: a dropped or drawn picture, and what the model says of it. */
import { find } from './element.ts';
import { DrawingPad } from './pictures/drawing-pad.ts';
import { acceptDrops } from './pictures/drop.ts';
import { picturesOf } from './pictures/picture.ts';

export interface GuessEvents {
  /** Probabilities in the order of the classes; undefined while nothing is learnt. */
  predict(picture: ImageBitmap): Promise<readonly number[]> | undefined;
  say(message: string): void;
}

export class Guess {
  readonly #events: GuessEvents;
  readonly #pad: DrawingPad;
  #classes: readonly string[] = [];
  #asked = 0;

  constructor(events: GuessEvents) {
    this.#events = events;
    this.#pad = new DrawingPad(find('#guess-pad'), () => this.#ask());
    find('#guess-clear').addEventListener('click', () => {
      this.#pad.clear();
      this.#bars([]);
    });
    const files = find<HTMLInputElement>('#guess-file');
    files.addEventListener('change', async () => {
      await this.#take(Array.from(files.files ?? []));
      files.value = '';
    });
    acceptDrops(find('#guess'), (dropped) => this.#take(dropped));
  }

  /** A model is there, with these classes. */
  ready(classes: readonly string[]): void {
    this.#classes = classes;
    this.#bars([]);
  }

  async #take(files: readonly File[]): Promise<void> {
    const { pictures, refused } = await picturesOf(files.slice(0, 1));
    if (refused.length > 0) this.#events.say(`${refused[0]} could not be read as a picture.`);
    if (!pictures[0]) return;
    this.#pad.show(pictures[0]);
    await this.#ask();
  }

  async #ask(): Promise<void> {
    const mine = ++this.#asked;
    const answer = this.#events.predict(await createImageBitmap(this.#pad.picture()));
    if (!answer) return this.#events.say('Nothing is learnt yet. Train, or load an adapter, then ask again.');
    try {
      const probabilities = await answer;
      if (mine === this.#asked) this.#bars(probabilities); // else a later question is under way
    } catch (error) {
      this.#events.say((error as Error).message);
    }
  }

  #bars(probabilities: readonly number[]): void {
    const best = Math.max(...probabilities);
    const rows = this.#classes.map((name, i) => {
      const row = document.createElement('li');
      const probability = probabilities[i];
      row.className = probability === best ? 'best' : '';
      const [label, meter, value] = [document.createElement('span'), document.createElement('meter'), document.createElement('output')];
      label.textContent = name;
      meter.value = probability ?? 0;
      meter.ariaLabel = name;
      value.textContent = probability === undefined ? '' : `${(100 * probability).toFixed(1)} %`;
      value.dataset['probability'] = `${probability ?? ''}`;
      row.append(label, meter, value);
      return row;
    });
    find('#guess-bars').replaceChildren(...rows);
  }
}
