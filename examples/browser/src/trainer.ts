/** The page's side of the worker. A new run takes a new one, so that a run that fails leaves what was learnt before. */
import type { BackendChoice, BackendName } from '@leantune/backends';
import type { Call, Calls, Reply, Request } from './training/messages.ts';
import type { Progress } from './training/train.ts';

interface Pending {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

export class Trainer {
  readonly #worker = new Worker(new URL('./training/worker.ts', import.meta.url), { type: 'module' });
  readonly #pending = new Map<number, Pending>();
  #calls = 0;

  private constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<Reply>) => this.#take(data);
    this.#worker.onerror = ({ message }) => this.#fail(new Error(message || 'the worker could not be loaded'));
  }

  static async start(backend: BackendName | 'auto'): Promise<{ trainer: Trainer; choice: BackendChoice }> {
    const trainer = new Trainer();
    try {
      return { trainer, choice: await trainer.call('start', { backend, page: document.baseURI }) };
    } catch (error) {
      trainer.end();
      throw error;
    }
  }

  /** @throws Error what the worker says, or that it ended */
  call<Name extends keyof Calls>(
    name: Name,
    argument?: Parameters<Calls[Name]>[0],
    { transfer = [], onProgress }: { transfer?: Transferable[]; onProgress?: (progress: Progress) => void } = {},
  ): Promise<ReturnType<Calls[Name]>> {
    const id = this.#calls++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onProgress });
      this.#post({ id, call: { name, argument } as Call }, transfer);
    });
  }

  /** The run ends after the step that is under way, and keeps what it has learnt. */
  stop(): void {
    this.#post('stop');
  }

  end(): void {
    this.#worker.terminate();
    this.#fail(new Error('the run was ended'));
  }

  #post(request: Request, transfer: Transferable[] = []): void {
    this.#worker.postMessage(request, transfer);
  }

  #take(message: Reply): void {
    const pending = this.#pending.get(message.id);
    if ('progress' in message) {
      pending?.onProgress?.(message.progress);
      return;
    }
    this.#pending.delete(message.id);
    if ('error' in message) pending?.reject(new Error(message.error));
    else pending?.resolve(message.answer as never);
  }

  #fail(error: Error): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
