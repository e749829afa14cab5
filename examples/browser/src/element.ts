/** Finds the parts of the page that index.html holds. */

/** @throws Error if the page has no such element: index.html and the code went apart */
export function find<E extends Element = HTMLElement>(selector: string, within: ParentNode = document): E {
  const found = within.querySelector<E>(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return found;
}

/** A copy of the only child of a `<template>`. */
export function copyOf<E extends Element = HTMLElement>(template: string): E {
  return find<HTMLTemplateElement>(template).content.firstElementChild!.cloneNode(true) as E;
}

export function svg(name: string, attributes: { readonly [name: string]: string | number }, text = ''): SVGElement {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, `${value}`);
  made.textContent = text;
  return made;
}
