import { FinetuneError, finetune } from '@leantune/core';
import { expect } from 'vitest';
import { tinyModels } from '../models/index.ts';
import type { Fault } from '../subject.ts';

/** 15 Bad options and targets give the stated error, word for word. */
export async function explainsFault({ make, model = 'layers/dense', code, message }: Fault): Promise<void> {
  const tiny = await tinyModels[model]!();
  let error: unknown;
  try {
    finetune(tiny.model as never, make()).dispose();
  } catch (e) {
    error = e;
  }
  tiny.dispose();
  if (!FinetuneError.is(error)) throw error ?? new Error(`finetune took it; expected an error with code ${code}`);
  expect(error.message).toBe(message);
  expect(error.code).toBe(code);
}
