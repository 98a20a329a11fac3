import { readFileSync } from 'node:fs';
import t from 'tap';
import { setRealtime } from '../../src/nic/index.js';

/** Fields 40 and 41 of proc(5)'s stat: the calling thread's real-time priority and policy. The name, field 2, may hold anything but a last bracket. */
function scheduling(): { priority: number; policy: number } {
  const stat = readFileSync('/proc/thread-self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { priority: Number(fields[37]), policy: Number(fields[38]) };
}

const SCHED_OTHER = 0;
const SCHED_FIFO = 1;

t.test('this thread goes to SCHED_FIFO and back, or stays where it is if the system refuses (sched(7))', (t) => {
  t.teardown(() => setRealtime(0));
  if (setRealtime(3)) {
    t.same(scheduling(), { priority: 3, policy: SCHED_FIFO });
  } else {
    t.comment('the system refuses SCHED_FIFO');
    t.equal(scheduling().policy, SCHED_OTHER);
  }
  t.equal(setRealtime(0), true);
  t.same(scheduling(), { priority: 0, policy: SCHED_OTHER });
  t.end();
});

t.test('a priority is a whole number from 0 to 99 (sched(7))', (t) => {
  for (const wrong of [-1, 1.5, 100, NaN, Infinity]) t.throws(() => setRealtime(wrong), { message: /priority.*a whole number from 0 to 99/ }, String(wrong));
  t.end();
});
