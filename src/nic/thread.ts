import { invalid } from '../base/index.js';
import { addon } from './addon.js';

/** SCHED_FIFO's highest priority on Linux (sched(7)). */
const MAX_PRIORITY = 99;

/**
 * Has the system run this thread, which serves cards, before all that are scheduled fairly (SCHED_FIFO of that priority, sched(7)), as
 * an interrupt handler would be; 0: fairly again. What it starts is scheduled fairly. A thread that polls for ever at such a
 * priority leaves its CPU to nobody else: let it wait for interrupts.
 * @returns false if the system refuses: it takes CAP_SYS_NICE or RLIMIT_RTPRIO
 */
export function setRealtime(priority: number): boolean {
  if (!Number.isInteger(priority) || priority < 0 || priority > MAX_PRIORITY) throw invalid('priority', priority, `a whole number from 0 to ${MAX_PRIORITY}`);
  return addon.realtime(priority);
}
