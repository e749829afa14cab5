#!/usr/bin/env node
/** `npx leantune doctor`: which backends can train here, and what each missing one needs. */
import { parseArgs } from 'node:util';
import { diagnose } from './doctor.ts';
import { print } from './print.ts';
import { probe } from './probe.ts';
import type { BackendName } from './report.ts';

const usage = `leantune doctor [--json] [--seconds 60]

  Tries every backend of TensorFlow.js in a process of its own, from the packages that the current folder sees, and prints
  what works, what each adapter can do, and what to do for each backend that does not work.

  --json      the same as an object
  --seconds   how long a backend may take to answer
  exit code   0 if a backend other than cpu works, else 1`;

/** Runs the program; resolves to its exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const [command, name] = args;
  if (command === 'probe' && process.send) return answer(name as BackendName | 'auto');
  const asksHelp = command === undefined || /^(-h|--help|help)$/.test(command);
  if (asksHelp) return say(usage, 0);
  if (command !== 'doctor') return say(`[leantune] got "${command}"; expected doctor.\n\n${usage}`, 2);
  try {
    const options = { json: { type: 'boolean', default: false }, seconds: { type: 'string', default: '60' } } as const;
    const { values } = parseArgs({ args: args.slice(1), options });
    const seconds = Number(values.seconds);
    if (!(seconds > 0)) throw new Error(`--seconds is "${values.seconds}"; expected a positive number`);
    const report = await diagnose(process.argv[1]!, seconds);
    const able = Object.entries(report.backends).some(([backend, { works }]) => works && backend !== 'cpu');
    return say(values.json ? JSON.stringify(report, null, 2) : print(report), able ? 0 : 1);
  } catch (error) {
    return say(`[leantune] ${(error as Error).message}\n\n${usage}`, 2);
  }
}

function say(text: string, code: number): number {
  console[code === 2 ? 'error' : 'log'](text);
  return code;
}

/** The far side of run-probe.ts. Ends the process: a backend may hold it open. */
async function answer(name: BackendName | 'auto'): Promise<number> {
  const found = await probe(name);
  await new Promise((sent) => process.send!(found, sent));
  process.exit(0);
}

process.exitCode = await main(process.argv.slice(2));
