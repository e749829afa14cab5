/** Which modules peft's fields select, read as peft reads them. A module is named as in PyTorch: 'encoder.layer.0.attention.self.query'. */
import { FinetuneError, type ModelView, type Site } from '@leantune/core';
import { denseSites, type LowRankSite, lowRankSites } from '@leantune/core/low-rank';
import type { LoraOptions, PeftConfig } from './config.ts';

/** The name of a site as a module: dots between, and without the weight's own name. */
export const moduleOf = ({ name }: Pick<Site, 'name'>): string => name.replaceAll('/', '.').replace(/\.(weight|kernel|embeddings)$/, '');

/** Looked up, not multiplied: by kind, and among plain variables by name, as those say nothing of their use. */
export const isEmbedding = ({ kind, type, name }: Site): boolean => kind === 'embedding' || (type === 'Variable' && /embed/i.test(name));

const inList = (list: readonly string[], module: string): boolean => list.some((name) => module === name || module.endsWith(`.${name}`));
const matches = (names: string | readonly string[], module: string): boolean =>
  typeof names === 'string' ? new RegExp(`^(?:${names})$`).test(module) : inList(names, module);

/** peft's `check_target_module_exists`, for a module's name alone. */
export function isTarget(config: PeftConfig, module: string): boolean {
  const { target_modules, exclude_modules, modules_to_save, layers_to_transform, layers_pattern } = config;
  if (exclude_modules && exclude_modules.length > 0 && matches(exclude_modules, module)) return false;
  if (isSaved(modules_to_save ?? [], module)) return false;
  if (target_modules === undefined || target_modules === null || !matches(target_modules, module)) return false;
  const exact = typeof target_modules === 'string' || target_modules.includes(module);
  const layers = [layers_to_transform ?? []].flat() as number[];
  if (exact || layers.length === 0) return true;
  const index = layerIndex(
    module,
    ([layers_pattern ?? []].flat() as string[]).filter((pattern) => pattern !== ''),
  );
  return index !== undefined && layers.includes(index);
}

/** Modules that `modules_to_save` names, and all below them. */
export const isSaved = (names: readonly string[], module: string): boolean =>
  names.some((name) => new RegExp(`(^|.*\\.)${name}($|\\..*)`).test(module));

/** The first number among the segments, behind one that `patterns` name. */
function layerIndex(module: string, patterns: readonly string[]): number | undefined {
  const all = patterns.length > 0 ? patterns.map((pattern) => new RegExp(`^(?:|.*?\\.)${pattern}\\.(\\d+)\\.`)) : [/^.*?\.[^.]*\.(\d+)\./];
  const found = all.map((pattern) => pattern.exec(module)).find((match) => match !== null);
  return found ? Number(found[1]) : undefined;
}

/** The sites that options select. @throws FinetuneError `no-match`, `bad-option` */
export function targetSites(model: ModelView, options: LoraOptions): readonly LowRankSite[] {
  const { targets, target_modules = 'all-linear', modules_to_save } = options;
  if (targets !== undefined) return lowRankSites(model, targets, 'lora');
  const config = { ...options, target_modules };
  if (typeof target_modules === 'string' && target_modules.toLowerCase() === 'all-linear') {
    const anywhere = { ...config, target_modules: '.*', layers_to_transform: null };
    return lowRankSites(model, (site) => denseSites(site) && !isEmbedding(site) && isTarget(anywhere, moduleOf(site)), 'lora');
  }
  const modules = model.sites().map((site) => moduleOf(site));
  const missing = Array.isArray(target_modules) ? target_modules.filter((name) => !modules.some((module) => inList([name], module))) : [];
  if (missing.length > 0)
    throw new FinetuneError(
      'no-match',
      'lora',
      `target_modules names ${missing.map((name) => `"${name}"`).join(', ')}, which no module is called; expected names, or last segments of them, such as ${modules
        .slice(0, 8)
        .map((name) => `"${name}"`)
        .join(', ')}.`,
    );
  return lowRankSites(model, (site) => isTarget({ ...config, modules_to_save: modules_to_save ?? null }, moduleOf(site)), 'lora');
}
