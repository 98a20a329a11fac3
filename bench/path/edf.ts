// edf: what a scheduling decision costs, what an admission costs, and what the policies miss under load.
import { Random } from '../../src/base/index.js';
import { DwcsQueue, type Job, type JobQueue, Scheduler, type Task, type Work, edfQueue, fifoQueue, fixedPriorityQueue, simulate, uunifast } from '../../src/sched/index.js';
import { type Figure, type Result, humanize, summarize } from '../../src/report/index.js';
import { type Bench, type BenchContext, type BenchOutput, type Measurement, alternate, nowNs, pick } from '../context.js';
import { pinned } from '../cores.js';

const NAME = 'edf';
const JOBS = [10, 100, 1000, 10_000];
const SERVERS = [10, 100, 1000];
/** Of the scheduler's decisions: admitting more would take longer than measuring. */
const MOST_SERVERS = 1000;
const UTILISATIONS = [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3];
const TARGET_NS = 300;
const BATCHES = 5;

const nothing = (): undefined => undefined;

/** Repeats `body`, which does `count` operations, for this long; ns an operation. */
function costNs(body: () => void, count: number, ms: number): number {
  const start = nowNs();
  let done = 0;
  while (nowNs() - start < ms * 1e6) {
    body();
    done += count;
  }
  return (nowNs() - start) / done;
}

/** A queue that holds so many jobs: the first goes out and comes back with a later deadline. */
function queueDecision(jobs: number, random: Random): () => void {
  const queue = edfQueue();
  const horizon = 1000 * jobs;
  // A ring of jobs made beforehand, each in the queue at most once.
  const made = Array.from({ length: jobs }, (): Job & { deadlineUs: number } => ({ stream: 0, releaseUs: 0, deadlineUs: random.int(0, horizon), costUs: 1, run: nothing }));
  const later = Float64Array.from({ length: 4096 }, () => random.int(1, horizon));
  for (const job of made) queue.push(job);
  let next = 0;
  return () => {
    for (let i = 0; i < 256; i++) {
      const job = queue.pop() as Job & { deadlineUs: number };
      job.deadlineUs += later[next++ & 4095];
      queue.push(job);
    }
  };
}

/** So many jobs, on servers of one each as far as these go: the first runs, is charged, and its server gets another. */
function schedulerDecision(jobs: number, random: Random): () => void {
  let nowUs = 0;
  const scheduler = new Scheduler({ nowUs: () => nowUs });
  const work = (release: () => boolean): Work => ({
    run: () => {
      nowUs += 1;
      release();
      return 1;
    },
  });
  const servers = Math.min(jobs, MOST_SERVERS);
  for (let i = 0; i < servers; i++) {
    const periodUs = 4 * servers + random.int(0, 4 * servers);
    const server = scheduler.admit({ name: `s${i}`, budgetUs: 2, jobUs: 1, periodUs, queueJobs: 16 });
    const again = work(() => server.release(again));
    for (let job = 0; job < jobs / servers; job++) server.release(again);
  }
  return () => {
    for (let i = 0; i < 256; ) {
      if (scheduler.runOne()) i++;
      else nowUs = scheduler.nextUs;
    }
  };
}

function decisions(context: BenchContext, random: Random): Measurement[][] {
  const ms = context.quick ? 12 : 80;
  return JOBS.map((jobs) => {
    const bodies = { 'queue: pop and push': queueDecision(jobs, random), 'scheduler: pick, run, charge, release': schedulerDecision(jobs, random) };
    return Object.entries(bodies).map(([variant, body]): Measurement => ({
      bench: NAME, variant, params: { jobs }, metric: 'decision', unit: 'ns', measure: () => costNs(body, 256, ms),
    }));
  });
}

/** One server more beside so many, at a utilisation of about 0.8. */
function admissions(context: BenchContext, random: Random): Measurement[][] {
  return SERVERS.map((servers) => {
    const scheduler = new Scheduler({ nowUs: () => 0, blockingUs: 1 });
    for (const [i, utilisation] of uunifast(random, servers, 0.7).entries()) {
      const periodUs = random.int(100, 1000) * servers;
      scheduler.admit({ name: `s${i}`, periodUs, budgetUs: Math.max(0.01, utilisation * periodUs), jobUs: 0.01, queueJobs: 1 });
    }
    const periodUs = 100 * servers;
    const variants = { 'is admitted': 0.1, 'is refused, with the largest budget that fits': 0.5 };
    return Object.entries(variants).map(([variant, share]): Measurement => ({
      bench: NAME, variant, params: { servers }, metric: 'admission', unit: 'ns',
      measure: () => costNs(() => scheduler.wouldAdmit({ name: 'newcomer', periodUs, budgetUs: share * periodUs, jobUs: 0.01, queueJobs: 1 }), 1, context.quick ? 15 : 100),
    }));
  });
}

interface Load {
  tasks: Task[];
  windows: { losses: number; window: number }[];
}

function randomLoad(random: Random, utilisation: number): Load {
  const tasks = uunifast(random, 12, utilisation).map((u): Task => {
    // Few different periods, so that deadlines are equal often: where DWCS differs from EDF.
    const periodUs = 1000 * 2 ** random.int(0, 3);
    return { offsetUs: 0, periodUs, deadlineUs: periodUs, costUs: u * periodUs };
  });
  return {
    tasks,
    windows: tasks.map(() => {
      const window = random.int(2, 10);
      return { losses: random.int(0, window - 1), window };
    }),
  };
}

const POLICIES: Record<string, (load: Load) => JobQueue> = {
  EDF: edfQueue,
  DWCS: ({ windows }) => new DwcsQueue(windows),
  'fixed priority': ({ tasks }) => fixedPriorityQueue(tasks.map(({ periodUs }) => periodUs)),
  FIFO: fifoQueue,
};

interface Outcome {
  jobs: number;
  missed: number;
  windows: number;
  violated: number;
}

/** Adds a run's jobs to `outcome`, and its tumbling windows: violated where more jobs were missed than they tolerate. */
function runLoad(load: Load, queue: JobQueue, outcome: Outcome): void {
  const seen = load.tasks.map(() => ({ jobs: 0, lost: 0 }));
  simulate({
    ...load, queue, untilUs: 400_000, shed: true,
    onOutcome: ({ stream }, inTime) => {
      const window = seen[stream];
      outcome.jobs++;
      window.jobs++;
      if (!inTime) {
        outcome.missed++;
        window.lost++;
      }
      if (window.jobs < load.windows[stream].window) return;
      outcome.windows++;
      if (window.lost > load.windows[stream].losses) outcome.violated++;
      window.jobs = window.lost = 0;
    },
  });
}

/** Every policy on the same random sets, in several batches; a batch gives a share of all its jobs. */
async function policies(context: BenchContext, random: Random): Promise<Result[]> {
  const sets = context.quick ? 4 : 20;
  const results: Result[] = [];
  for (const [i, utilisation] of UTILISATIONS.entries()) {
    context.signal.throwIfAborted();
    context.progress(i, UTILISATIONS.length, `utilisation ${utilisation}`);
    const batches = Array.from({ length: BATCHES }, () => Array.from({ length: sets }, () => randomLoad(random, utilisation)));
    for (const [variant, make] of Object.entries(POLICIES)) {
      const outcomes = batches.map((loads) => {
        const outcome: Outcome = { jobs: 0, missed: 0, windows: 0, violated: 0 };
        for (const load of loads) runLoad(load, make(load), outcome);
        return outcome;
      });
      const result = { bench: NAME, variant, params: { utilisation }, unit: '%' };
      results.push({ ...result, metric: 'missed', ...summarize(outcomes.map(({ missed, jobs }) => (100 * missed) / jobs)) });
      results.push({ ...result, metric: 'violated', ...summarize(outcomes.map(({ violated, windows }) => (100 * violated) / windows)) });
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  return results;
}

async function measure(context: BenchContext): Promise<BenchOutput> {
  const random = new Random(context.seed >>> 0).fork(NAME);
  const groups = [...decisions(context, random.fork('decisions')), ...admissions(context, random.fork('admissions'))];
  const results = [...(await alternate(groups, context.quick ? 5 : 11, context)), ...(await policies(context, random.fork('policies')))];
  const most = JOBS.at(-1)!;
  const full = pick(results, 'scheduler: pick, run, charge, release', { jobs: most });
  const plain = pick(results, 'queue: pop and push', { jobs: most });
  const share = (variant: string, utilisation: number, metric: string): string => `${pick(results, variant, { utilisation }, metric).median.toFixed(1)} %`;
  const figures: Figure[] = [
    {
      id: 'edf-decision',
      title: 'What a scheduling decision costs',
      paragraph:
        `Jobs wait in a heap by deadline. To take the first of ${most} and put another in costs ${humanize(plain.median, 'ns')}; the whole decision, over bandwidth servers, ` +
        `${MOST_SERVERS} at most (pick, run a job that does nothing, charge its server, release the next), ${humanize(full.median, 'ns')}.`,
      kind: 'line',
      x: { param: 'jobs', label: 'queued jobs', scale: 'log' },
      y: { metric: 'decision', label: 'cost of a decision', unit: 'ns' },
      results,
      reference: { value: TARGET_NS, label: 'target' },
    },
    {
      id: 'edf-admission',
      title: 'What admitting a server costs',
      paragraph: 'Processor demand with blocking, looked at only where QPA must. A refusal also finds the first instant that would be overrun and, by bisection to a nanosecond, the largest budget that fits.',
      kind: 'line',
      x: { param: 'servers', label: 'servers admitted already', scale: 'log' },
      y: { metric: 'admission', label: 'time', unit: 'ns', scale: 'log' },
      results,
    },
    {
      id: 'edf-missed',
      title: 'Jobs missed under load',
      paragraph:
        `Random sets of 12 periodic tasks (UUniFast), jobs not preempted, late ones dropped when their turn comes; ${BATCHES} batches of sets, which all policies share. At a utilisation of 1, EDF misses ${share('EDF', 1, 'missed')} ` +
        `and FIFO ${share('FIFO', 1, 'missed')}; at 1.3, ${share('EDF', 1.3, 'missed')} and ${share('FIFO', 1.3, 'missed')}.`,
      kind: 'line',
      x: { param: 'utilisation', label: 'utilisation' },
      y: { metric: 'missed', label: 'jobs missed', unit: '%' },
      results,
    },
    {
      id: 'edf-violated',
      title: 'Window constraints violated under load',
      paragraph:
        `The same runs: of each task's jobs, in windows of y one behind the other, more than x were missed. DWCS, which knows x and y, violates ${share('DWCS', 1.2, 'violated')} at 1.2; ` +
        `EDF, which does not, ${share('EDF', 1.2, 'violated')}.`,
      kind: 'line',
      x: { param: 'utilisation', label: 'utilisation' },
      y: { metric: 'violated', label: 'windows violated', unit: '%' },
      results,
    },
  ];
  return {
    results,
    figures,
    targets: [
      {
        what: `EDF: a decision among ${most} queued jobs`,
        target: `≤ ${TARGET_NS} ns`,
        reached: humanize(plain.median, 'ns'),
        spread: `${plain.min.toFixed(0)}–${plain.max.toFixed(0)}`,
        met: plain.median <= TARGET_NS,
      },
    ],
  };
}

export const edf: Bench = {
  name: NAME,
  summary: 'scheduling decisions, admission, and what policies miss under load',
  quickSeconds: 6,
  run: (context) => pinned(() => measure(context)),
};
