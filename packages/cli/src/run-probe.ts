/**
 * Each probe in a process of its own, with a time limit: a driver that crashes takes that process down, an adapter that hangs is
 * ended, and a backend cannot disturb the next one.
 */
import { fork } from 'node:child_process';
import type { Fails } from './report.ts';

/** What `main.ts probe <name>` sends back, or why it did not. `program` is this program's own file. */
export function runProbe<Answer>(program: string, name: string, seconds: number): Promise<Answer | Fails> {
  return new Promise((done) => {
    const child = fork(program, ['probe', name], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    let answer: Answer | undefined;
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (text) => (said = `${said}${text}`.slice(-4000)));
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, seconds * 1000);
    child.on('message', (message) => {
      answer = message as Answer;
    });
    child.on('error', (error) => done({ works: false, why: `its probe does not start: ${error.message}`, fix }));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (answer !== undefined) done(answer);
      else if (late) done({ works: false, why: `it did not answer within ${seconds} s`, fix });
      else done({ works: false, why: `it ended its process with ${signal ?? `exit code ${code}`}${lastLine(said)}`, fix });
    });
  });
}

const fix = 'Update its package and the driver below it; if that does not help, take another backend and report this';

function lastLine(said: string): string {
  const line = said.trim().split('\n').at(-1);
  return line ? `: ${line}` : '';
}
