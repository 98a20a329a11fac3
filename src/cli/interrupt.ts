// Ctrl-C and SIGTERM. Under npm a Ctrl-C comes twice: from the terminal, which sends it to all, and from npm, which passes it on. The
// second one must not find that the first has taken the handlers down: it would kill what is about to end by itself.
import { setTimeout as sleep } from 'node:timers/promises';

const ECHO_MS = 250;
/** Who asks again after so long means it: what was to be closed first is left. */
const INSIST_MS = 1000;
export const EXIT_INTERRUPTED = 130;

let latestMs = -Infinity;

/** Calls `action` when the command is asked to end. What it returns takes that back, unless it has been asked to. */
export function onInterrupt(action: () => void): () => void {
  let firstMs = Infinity;
  const listener = (): void => {
    latestMs = performance.now();
    if (latestMs > firstMs + INSIST_MS) process.exit(EXIT_INTERRUPTED);
    if (firstMs < Infinity) return;
    firstMs = latestMs;
    action();
  };
  process.on('SIGINT', listener).on('SIGTERM', listener);
  return () => {
    if (firstMs === Infinity) process.removeListener('SIGINT', listener).removeListener('SIGTERM', listener);
  };
}

/** Resolves once no second signal is to be expected. */
export async function afterInterrupts(): Promise<void> {
  while (performance.now() < latestMs + ECHO_MS) await sleep(ECHO_MS / 5);
}
