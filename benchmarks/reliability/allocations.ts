/** Watches what buffers JavaScript asks for: tfjs and LeanTune make theirs through these constructors, whether or not they then exist. */
interface Made {
  /** Bytes of the largest that was asked for by its length. */
  largest: number;
  total: number;
}

const kinds = ['ArrayBuffer', 'Uint8Array', 'Uint16Array', 'Int32Array', 'Uint32Array', 'Float32Array', 'Float64Array'] as const;

/** Runs `f`; what it asked for is added up in `made`, also if it throws. */
export async function watchAllocations<T>(f: () => Promise<T>, made: Made): Promise<T> {
  const scope = globalThis as unknown as { [kind: string]: { readonly BYTES_PER_ELEMENT?: number } };
  const before = kinds.map((kind) => scope[kind]!);
  for (const kind of kinds) {
    const original = scope[kind]!;
    const size = original.BYTES_PER_ELEMENT ?? 1;
    scope[kind] = new Proxy(original, {
      construct(target, args: [unknown, ...unknown[]], made2) {
        if (typeof args[0] === 'number') {
          made.largest = Math.max(made.largest, args[0] * size);
          made.total += args[0] * size;
        }
        return Reflect.construct(target as never, args, made2 === scope[kind] ? (target as never) : made2);
      },
    });
  }
  try {
    return await f();
  } finally {
    kinds.forEach((kind, i) => {
      scope[kind] = before[i]!;
    });
  }
}

export const nothingMade = (): Made => ({ largest: 0, total: 0 });
