// A driver served from the event loop while the engine's thread moves frames, in real time: nothing is lost, nobody sleeps for ever.
// Deadlines are only there to end a run that hangs.
import t from 'tap';
import { Random } from '../../src/base/index.js';
import { Engine, FEATURE_NAMES, type FeatureName, type ServiceMode } from '../../src/nic/index.js';
import { type Host, MAC_A, MAC_B, Wired, type WiredOptions, numberOf, numbered, udpFrame, until } from './rig.js';

const MODES: readonly ServiceMode[] = ['interrupt', 'adaptive', 'poll'];
const EVENT_IDX: readonly FeatureName[] = FEATURE_NAMES.filter((name) => !['GuestCsum', 'CtrlGuestOffloads', 'MrgRxbuf'].includes(name));
const FLAGS: readonly FeatureName[] = EVENT_IDX.filter((name) => name !== 'EventIdx' && name !== 'InOrder');

/** Sends as there is room, and goes on when told that there is some again. */
class Stream {
  private readonly waiting: Uint8Array[] = [];

  constructor(private readonly host: Host) {
    host.onWritable = () => this.flush();
  }

  send(...frames: Uint8Array[]): void {
    this.waiting.push(...frames);
    if (this.waiting.length === frames.length) this.flush();
  }

  private flush(): void {
    while (this.waiting.length > 0 && this.host.send(this.waiting[0])) this.waiting.shift();
  }
}

/** Two hosts with small rings, on a thread that soon goes to sleep, over a wire that loses nothing. */
function threaded(options: WiredOptions & { spinUs?: number } = {}): Wired {
  const { spinUs = 0, ...rest } = options;
  return new Wired({ engine: new Engine({ spinUs }), link: { pause: true }, driver: { queueSize: 8, buffers: 32 }, ...rest });
}

for (const mode of MODES) {
  for (const [name, features] of Object.entries({ EVENT_IDX, FLAGS })) {
    t.test(`${mode}, ${name}: 5,000 frames come, each once and in order, whatever the budget`, async (t) => {
      for (const budget of [1, 5, 64]) {
        const wired = threaded({ driver: { queueSize: 8, buffers: 32, features } });
        const { a, b } = wired;
        a.driver.start('interrupt');
        b.driver.start(mode, budget);
        const frames = 5_000;
        const stream = new Stream(a);
        for (let i = 0; i < frames; i++) stream.send(numbered(i));
        t.ok(await until(() => b.received.length >= frames), `budget ${budget}: ${b.received.length} of ${frames}`);
        t.ok(b.received.every(({ bytes }, i) => numberOf(bytes) === i), `budget ${budget}: in order`);
        const [received] = b.nic.counters().queues;
        t.match(received, { frames, dropNoBuffer: 0, faults: 0 });
        if (mode === 'poll') t.equal(received.interrupts, 0, 'polling asks for no interrupt');
        t.ok(await until(() => a.pair.tx.reclaim() === 0 && a.missing() + b.missing() === 0), 'all buffers are back');
        wired.close();
      }
      t.end();
    });
  }
}

t.test('no wake-up is lost: bursts answered and waited for, with pauses of any length between', async (t) => {
  const seed = Number(process.env['SEED'] ?? 1) >>> 0;
  for (const [name, features] of Object.entries({ EVENT_IDX, FLAGS })) {
    for (const spinUs of [0, 50]) {
      const random = new Random(seed).fork(`${name} ${spinUs}`);
      const wired = threaded({ spinUs, driver: { queueSize: 8, buffers: 32, features } });
      const { a, b } = wired;
      const [there, back] = [new Stream(a), new Stream(b)];
      b.onFrame = ({ bytes }) => back.send(numbered(numberOf(bytes), bytes.length, MAC_A, MAC_B));
      a.driver.start('interrupt');
      b.driver.start('adaptive');
      let answered = 0;
      a.onFrame = ({ bytes }) => (answered += numberOf(bytes) === answered ? 1 : NaN);
      let sent = 0;
      for (let round = 0; round < 500; round++) {
        // Every so often the modes change under way.
        if (round % 50 === 49) {
          for (const { driver } of [a, b]) driver.start(MODES[random.int(0, 2)], random.int(1, 16));
        } else if (round % 50 === 0) {
          for (const { driver } of [a, b]) driver.start(random.bool(0.5) ? 'interrupt' : 'adaptive', random.int(1, 16));
        }
        // A ring's worth and a bit around it are the worst.
        const burst = random.bool(0.5) ? random.int(1, 3) : random.int(6, 20);
        for (let i = 0; i < burst; i++) {
          there.send(numbered(sent++));
          if (random.bool(0.1)) busyUs(random.int(0, 60));
        }
        const pause = random.int(0, 9);
        if (pause < 4) busyUs(random.int(0, 120));
        else if (pause < 6) await new Promise((resolve) => setTimeout(resolve, 1));
        if (!(await until(() => answered >= sent || Number.isNaN(answered)))) {
          t.fail(`seed ${seed}, ${name}, spin ${spinUs}: round ${round} hangs with ${answered} of ${sent} answered`);
          break;
        }
        if (Number.isNaN(answered)) {
          t.fail(`seed ${seed}, ${name}, spin ${spinUs}: answers out of order in round ${round}`);
          break;
        }
      }
      t.equal(answered, sent, `${name}, spin ${spinUs}: seed ${seed}`);
      t.ok(await until(() => wired.engine.sleeps > 0), 'and the engine did sleep');
      wired.close();
    }
  }
  t.end();
});

/** Keeps this thread from its event loop. */
function busyUs(us: number): void {
  const end = performance.now() + us / 1e3;
  while (performance.now() < end);
}

t.test('a full ring: who came short of room is told when there is some, though nothing comes in', async (t) => {
  for (const mode of ['interrupt', 'adaptive'] as const) {
    for (const [name, features] of Object.entries({ EVENT_IDX, FLAGS })) {
      const wired = threaded({ driver: { queueSize: 8, features }, driverB: { queueSize: 8, features, refill: false } });
      const { a, b } = wired;
      a.driver.start(mode);
      let sent = 0;
      // The other side posts nothing yet, so the wire stands.
      while (a.send(numbered(sent))) sent++;
      t.ok(sent >= 8, `${mode}, ${name}: ${sent} sent before the ring was full`);
      await new Promise((resolve) => setTimeout(resolve, 5));
      t.equal(a.writable, 0, 'not yet');
      const told = await until(() => b.driver.poll() === 0 && b.received.length === sent && a.writable > 0);
      t.ok(told, `${mode}, ${name}: ${b.received.length} of ${sent} came, told ${a.writable} times`);
      t.ok(a.send(numbered(sent)));
      wired.close();
    }
  }
  t.end();
});

t.test('a ring emptied at one go is filled again: the next burst comes too', async (t) => {
  for (const mode of ['interrupt', 'adaptive'] as const) {
    const wired = threaded({ link: {}, driver: { queueSize: 8, buffers: 16 } });
    const { a, b } = wired;
    b.driver.start(mode, 64);
    a.driver.start('poll');
    for (let round = 1; round <= 50; round++) {
      const before = a.nic.counters().queues[1].frames;
      for (let i = 0; i < 8; i++) a.send(numbered(i));
      // The card has them all before our loop turns.
      while (a.nic.counters().queues[1].frames < before + 8);
      if (!(await until(() => b.received.length >= 8 * round))) {
        t.fail(`${mode}: round ${round}: ${b.received.length}`);
        break;
      }
    }
    t.equal(b.nic.counters().queues[0].dropNoBuffer, 0, mode);
    wired.close();
  }
  t.end();
});

t.test('several pairs are served side by side', async (t) => {
  const wired = threaded({ nic: { queuePairs: 4 }, driver: { queuePairs: 4, queueSize: 16 } });
  const { a, b } = wired;
  const frames = a.driver.pairs.map(({ index }) => udpFrame({ destinationPort: index + 1 }));
  for (const { index } of b.driver.pairs) b.nic.steer({ protocol: 'udp', destination: '198.18.0.2', destinationPort: index + 1 }, index);
  b.driver.start('adaptive', 4);
  a.driver.start('adaptive', 4);
  const each = 500;
  const left = a.driver.pairs.map(() => each);
  const flush = ({ index }: { index: number }): void => {
    while (left[index] > 0 && a.send(frames[index], a.driver.pairs[index])) left[index]--;
  };
  a.onWritable = flush;
  a.driver.pairs.forEach(flush);
  t.ok(await until(() => b.received.length >= 4 * each), `${b.received.length} of ${4 * each}`);
  t.same(b.driver.pairs.map(({ index }) => b.received.filter(({ pair }) => pair === index).length), [each, each, each, each]);
  wired.close();
  t.end();
});
