import { type Clock } from '../base/index.js';

/** What waits for a time, and says when it has become an earlier one. */
export interface Sleeper {
  /** Does what is due by now. */
  wake(): void;
  /** When wake() is to be called next, in µs of the clock; look again after each call of it. Infinity: not at all. */
  readonly dueUs: number;
  /** Set by whoever wakes it; called when `dueUs` has moved ahead. */
  onEarlier: () => void;
}

const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Wakes `sleeper` from this thread's event loop whenever it is due by `clock`, which must run in real time, until what it returns is
 * called. What is due at once keeps the process alive; what is due only later does not.
 */
export function runInEventLoop(sleeper: Sleeper, clock: Clock): () => void {
  let immediate: NodeJS.Immediate | undefined;
  let timeout: NodeJS.Timeout | undefined;
  let timeoutUs = Infinity;
  let stopped = false;
  const disarm = (): void => {
    clearImmediate(immediate);
    clearTimeout(timeout);
    immediate = timeout = undefined;
    timeoutUs = Infinity;
  };
  const arm = (): void => {
    const { dueUs } = sleeper;
    // A timeout that comes too early, since what it was for has moved on, only looks again.
    if (stopped || immediate !== undefined || dueUs >= timeoutUs) return;
    disarm();
    const waitUs = dueUs - clock.nowUs();
    if (waitUs <= 0) immediate = setImmediate(run);
    else {
      timeoutUs = dueUs;
      timeout = setTimeout(run, Math.min(Math.ceil(waitUs / 1e3), MAX_TIMEOUT_MS)).unref();
    }
  };
  const run = (): void => {
    disarm();
    try {
      if (sleeper.dueUs <= clock.nowUs()) sleeper.wake();
    } finally {
      arm();
    }
  };
  sleeper.onEarlier = arm;
  arm();
  return () => {
    stopped = true;
    sleeper.onEarlier = () => undefined;
    disarm();
  };
}
