/** How tfjs's objects are hooked: own properties on the instance, taken off again without a trace. */
import type { Undo } from './technique.ts';

/** Puts `properties` on `target` itself; the result puts back what was there. */
export function override(target: object, properties: object): Undo {
  const before = Object.keys(properties).map((name) => [name, Object.getOwnPropertyDescriptor(target, name)] as const);
  Object.defineProperties(target, Object.getOwnPropertyDescriptors(properties));
  return () => {
    for (const [name, own] of before) {
      if (own) Object.defineProperty(target, name, own);
      else Reflect.deleteProperty(target, name);
    }
  };
}
