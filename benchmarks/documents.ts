/**
 * Documents that are written from result files: whole, or tables between `<!-- marker:start -->` and `<!-- marker:end -->`.
 *
 * A technique has its own in `<technique>/tables.ts`; `tables.ts` knows all of them.
 */
import { existsSync, readFileSync } from 'node:fs';

export interface Table {
  /** The document, relative to this folder. */
  readonly file: string;
  /** @default the whole document is written */
  readonly marker?: string;
  /** What stands between the markers, or in the document: from results/ alone. */
  text(): string;
}

export interface Document {
  readonly file: string;
  readonly text: string;
}

export const at = (path: string): URL => new URL(path, import.meta.url);

export const readJson = <T>(path: string): T => JSON.parse(readFileSync(at(path), 'utf8')) as T;

/** The documents that are not what `tables` say, as they should be. */
export function staleDocuments(tables: readonly Table[]): readonly Document[] {
  const files = [...new Set(tables.map(({ file }) => file))];
  return files.flatMap((file) => {
    const before = existsSync(at(file)) ? readFileSync(at(file), 'utf8') : '';
    const text = tables.filter((table) => table.file === file).reduce(fill, before);
    return text === before ? [] : [{ file, text }];
  });
}

/** `document` with `table` between its markers. */
function fill(document: string, { file, marker, text }: Table): string {
  if (marker === undefined) return text();
  const [start, end] = [`<!-- ${marker}:start -->`, `<!-- ${marker}:end -->`];
  const [from, to] = [document.indexOf(start), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`[tables] ${file} has no ${start} … ${end}. Put both where the table belongs.`);
  return `${document.slice(0, from + start.length)}\n${text()}\n${document.slice(to)}`;
}

/** A table of Markdown; columns after the first are numbers. */
export const markdownTable = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [line(head), line(['---', ...head.slice(1).map(() => '---:')]), ...rows.map(line)].join('\n');

export const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

/** Three significant digits. */
export function megabytes(bytes: number): string {
  const value = bytes / 1e6;
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
}
