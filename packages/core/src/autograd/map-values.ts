/** `of` under the same names, each value by `f`. */
export function mapValues<T, R>(of: { readonly [name: string]: T }, f: (value: T) => R): { [name: string]: R } {
  const mapped: { [name: string]: R } = {};
  for (const name in of) mapped[name] = f(of[name]!);
  return mapped;
}
