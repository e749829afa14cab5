/** Ties the panels of the page to the worker that trains. */
import './style/page.css';
import './style/controls.css';
import './style/pictures.css';
import './style/train.css';
import './style/watch.css';
import './style/guess.css';
import type { BackendChoice, BackendName } from '@leantune/backends';
import { download } from './download.ts';
import { find } from './element.ts';
import { Guess } from './guess.ts';
import { Album } from './pictures/album.ts';
import { openPad } from './pictures/pad-dialog.ts';
import { readyMade } from './pictures/ready-made.ts';
import { Trainer } from './trainer.ts';
import type { Labels } from './training/labels.ts';
import type { ModeName } from './training/modes.ts';
import type { By } from './training/train.ts';
import { emptyRecord, follow, type Record, show } from './watch.ts';

/** The worker that has learnt something, and what. */
let learnt: { readonly trainer: Trainer; readonly labels: Labels } | undefined;
/** The worker of the run that is under way. */
let running: Trainer | undefined;
/** Actions that have not ended, of which one goes on. */
let waiting = 0;
let queue: Promise<void> = Promise.resolve();
let lean: Record | undefined;
let stock: Record | undefined;

const say = (message: string, isError = false): void => {
  find('#status').textContent = message;
  find('#status').classList.toggle('error', isError);
};
const button = (id: string): HTMLButtonElement => find<HTMLButtonElement>(id);
const album = new Album(find('#classes'), { changed: refresh, say, draw: openPad });
const guess = new Guess({ predict: (picture) => learnt?.trainer.call('predict', picture, { transfer: [picture] }), say });

function refresh(): void {
  const fault = album.fault();
  find('#fault').textContent = running ? '' : fault;
  const busy = waiting > 0;
  for (const id of ['#ready-made', '#backend', '#load']) button(id).disabled = busy;
  button('#train').disabled = busy || fault !== '';
  button('#compare').disabled = busy || fault !== '' || !lean;
  button('#save').disabled = busy || !learnt;
  button('#stop').disabled = running === undefined;
  button('#figures').disabled = !lean;
}

/** A worker on the backend that the person chose. */
async function startTrainer(): Promise<Trainer> {
  const { trainer, choice } = await Trainer.start(find<HTMLSelectElement>('#backend').value as BackendName | 'auto');
  explain(choice);
  return trainer;
}

function explain({ name, why, passed }: BackendChoice): void {
  find('#backend-name').textContent = name;
  find('#backend-why').textContent =
    passed.length > 0 ? `${why}. ${passed.map((other) => `Not ${other.name}: ${other.why}.`).join(' ')}` : why;
}

async function run(by: By): Promise<void> {
  const mode = find<HTMLInputElement>('[name=mode]:checked').value as ModeName;
  const size = Number(find<HTMLSelectElement>('#size').value);
  const epochs = Math.min(100, Math.max(1, Math.round(Number(find<HTMLInputElement>('#epochs').value)) || 1));
  const labels: Labels = { classes: album.classes, size, mode };
  say(`${by === 'LeanTune' ? 'LeanTune' : 'Stock tfjs'} is getting ready …`);
  const examples = await album.examples();
  const trainer = await startTrainer();
  running = trainer;
  refresh();
  let record = emptyRecord(by, find('#backend-name').textContent!, examples.filter(({ held }) => held).length);
  const transfer = examples.map(({ bitmap }) => bitmap);
  const { summary, stopped } = await trainer.call(
    'train',
    { by, epochs, labels, examples },
    {
      transfer,
      onProgress(progress) {
        record = follow(record, progress);
        if (by === 'LeanTune') [lean, stock] = [record, progress.step === 1 ? undefined : stock];
        else stock = record;
        say(`Step ${progress.step} of ${progress.steps}`);
        show(lean, stock);
      },
    },
  );
  say(`${stopped ? 'Stopped' : 'Done'} after ${record.losses.length} steps. ${summary.split('\n')[0]}`);
  if (by === 'LeanTune') keep(trainer, labels);
  else trainer.end();
}

function keep(trainer: Trainer, labels: Labels): void {
  learnt?.trainer.end();
  learnt = { trainer, labels };
  guess.ready(labels.classes);
}

/** One at a time, in turn; an error is shown, and what was learnt before stays. */
function attempt(action: () => Promise<void>): Promise<void> {
  waiting++;
  refresh();
  queue = queue.then(action).catch((error: Error) => {
    if (running !== learnt?.trainer) running?.end();
    say(error.message, true);
  });
  return queue.finally(() => {
    running = undefined;
    waiting--;
    refresh();
  });
}

async function load(file: File): Promise<void> {
  say(`Loading ${file.name} …`);
  const trainer = await startTrainer();
  running = trainer;
  refresh();
  const bytes = new Uint8Array(await file.arrayBuffer());
  const labels = await trainer.call('load', bytes);
  keep(trainer, labels);
  say(`${file.name} is loaded: it tells apart ${labels.classes.join(', ')}.`);
}

async function save(): Promise<void> {
  const bytes = await learnt!.trainer.call('save');
  download('adapter.safetensors', [bytes], 'application/octet-stream');
  say(`The adapter is saved: ${(bytes.length / 1e3).toFixed(0)} kB. The pretrained network is not in it.`);
}

find('#ready-made').addEventListener('click', () => attempt(async () => album.show(await readyMade())));
find('#add-class').addEventListener('click', () => find<HTMLInputElement>('.name', album.add().root).select());
find('#train').addEventListener('click', () => attempt(() => run('LeanTune')));
find('#compare').addEventListener('click', () => attempt(() => run('tfjs')));
find('#stop').addEventListener('click', () => running?.stop());
find('#save').addEventListener('click', () => attempt(save));
find('#load').addEventListener('click', () => find('#load-file').click());
find('#figures').addEventListener('click', () => download('figures.json', [JSON.stringify({ lean, stock }, null, 2)], 'application/json'));
find<HTMLInputElement>('#load-file').addEventListener('change', async ({ currentTarget }) => {
  const input = currentTarget as HTMLInputElement;
  const file = input.files?.[0];
  if (file) await attempt(() => load(file));
  input.value = '';
});
find('#backend').addEventListener('change', () => attempt(probe));

/** What would compute, before anything does. */
async function probe(): Promise<void> {
  (await startTrainer()).end();
}

album.add();
album.add();
show(undefined, undefined);
void attempt(probe);
if (import.meta.env.OFFLINE) void navigator.serviceWorker?.register('service-worker.js');
