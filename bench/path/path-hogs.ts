// Background load: processes that spin on the CPU of the forwarding software, which they inherit from the thread that starts them.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

// Ends by itself within some ten milliseconds of its CPU time once whoever started it is gone, however that came.
const SPIN = 'while kill -0 "$1" 2>/dev/null; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; done';
/** For all of them to have begun. */
const SETTLE_MS = 30;

async function end(hog: ChildProcess): Promise<void> {
  if (hog.pid === undefined || hog.exitCode !== null || hog.signalCode !== null) return;
  const ended = once(hog, 'exit');
  hog.kill('SIGKILL');
  await ended;
}

/** Runs `body` beside so many of them. @throws if one could not be started or ended early: there was less load than said */
export async function withHogs<T>(count: number, body: () => Promise<T>): Promise<T> {
  if (count === 0) return body();
  const hogs: ChildProcess[] = [];
  let failed = '';
  try {
    for (let i = 0; i < count; i++) {
      const hog = spawn('sh', ['-c', SPIN, 'hog', String(process.pid)], { stdio: 'ignore' });
      hog.on('error', (error) => {
        failed = error.message;
      });
      hogs.push(hog);
    }
    await sleep(SETTLE_MS);
    const result = await body();
    if (failed === '' && hogs.some((hog) => hog.exitCode !== null || hog.signalCode !== null)) failed = 'one has ended early';
    if (failed !== '') throw new Error(`path: background load: ${failed}`);
    return result;
  } finally {
    await Promise.all(hogs.map(end));
  }
}
