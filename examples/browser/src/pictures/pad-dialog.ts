/** The drawing pad of a class, in a dialog that stays open for the next drawing. */
import { find } from '../element.ts';
import { DrawingPad } from './drawing-pad.ts';

let pad: DrawingPad | undefined;

/** Opens it for the class of this name; `add` gets each drawing. */
export function openPad(name: string, add: (picture: HTMLCanvasElement) => void): void {
  const dialog = find<HTMLDialogElement>('#pad-dialog');
  pad ??= new DrawingPad(find('#pad'));
  const drawing = pad;
  let count = 0;
  const tell = () => {
    find('#pad-title').textContent = `Draw “${name}”`;
    find('#pad-count').textContent = count > 0 ? `${count} added` : '';
  };
  find<HTMLButtonElement>('#pad-add').onclick = () => {
    add(drawing.picture());
    drawing.clear();
    count++;
    tell();
  };
  find<HTMLButtonElement>('#pad-clear').onclick = () => drawing.clear();
  drawing.clear();
  tell();
  dialog.showModal();
  find('#pad').focus();
}
