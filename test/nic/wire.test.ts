// What a wire does to frames on their way: each option by itself, seeded. In virtual time.
import t from 'tap';
import { Engine, Link, type LinkOptions, Nic, Replay, type WireCounters } from '../../src/nic/index.js';
import { MAC_A, MAC_B, Wired, numberOf, numbered, refuses } from './rig.js';

interface Journey {
  number: number;
  sentNs: number;
  cameNs: number;
  bytes: string;
}

interface Outcome {
  journeys: Journey[];
  counters: WireCounters;
  back: WireCounters;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const FRAMES = 500;
const BYTES = 101; // 125 on the wire: a thousand bits

/** Sends frames one way, `gapUs` apart, and notes when each came. */
function travel(link: LinkOptions, gapUs = 10, frames = FRAMES, reverse = false): Outcome {
  const wired = new Wired({ link, driver: { queueSize: 1024, buffers: 4096, features: ['CtrlVq', 'CtrlRx', 'EventIdx'], promiscuous: true } });
  const { engine } = wired;
  const [from, to] = reverse ? [wired.b, wired.a] : [wired.a, wired.b];
  const journeys: Journey[] = [];
  to.onFrame = ({ bytes }) => {
    const number = numberOf(bytes);
    journeys.push({ number, sentNs: number * gapUs * 1e3, cameNs: Math.round(engine.nowUs() * 1e3), bytes: hex(bytes) });
  };
  const advance = (untilUs: number): void => {
    for (let due = engine.step(); ; ) {
      while (wired.a.driver.poll() + wired.b.driver.poll() > 0) engine.step();
      due = engine.step();
      if (due > untilUs || due === Infinity) break;
      engine.step(due);
    }
    if (untilUs < Infinity) engine.step(untilUs);
  };
  for (let i = 0; i < frames; i++) {
    advance(i * gapUs);
    if (!from.send(numbered(i, BYTES, reverse ? MAC_A : MAC_B))) throw new Error(`frame ${i} can't be sent`);
  }
  advance(Infinity);
  const [forth, back] = wired.link.counters();
  wired.close();
  return { journeys, counters: forth, back };
}

const numbersOf = (journeys: readonly Journey[]): number[] => journeys.map(({ number }) => number);
const all = Array.from({ length: FRAMES }, (_, i) => i);
const delays = (journeys: readonly Journey[]): number[] => journeys.map(({ sentNs, cameNs }) => cameNs - sentNs);

t.test('a plain wire takes no time and changes nothing', (t) => {
  const { journeys, counters } = travel({});
  t.same(numbersOf(journeys), all);
  t.ok(journeys.every(({ number, sentNs, cameNs, bytes }) => sentNs === cameNs && bytes === hex(numbered(number, BYTES))));
  t.match(counters, { offered: FRAMES, delivered: FRAMES, lost: 0, heldFrames: 0, refused: 0 });
  t.end();
});

t.test('delay: each frame comes so much later, held by copy', (t) => {
  const { journeys, counters } = travel({ delayUs: 123.456 });
  t.same(numbersOf(journeys), all);
  t.ok(delays(journeys).every((ns) => ns === 123_456));
  t.match(counters, { delivered: FRAMES, heldFrames: FRAMES, heldBytes: FRAMES * BYTES });
  t.end();
});

t.test('rate: frames follow one another as their bytes and 24 more take, a burst at once', (t) => {
  // 1000 bits a frame at 50 Mb/s: 20 µs, of which the sender gives only 10.
  const { journeys } = travel({ rateBps: 50e6 });
  t.same(journeys.map(({ cameNs }) => cameNs), all.map((i) => (i + 1) * 20_000));
  const slow = travel({ rateBps: 200e6 }).journeys;
  t.ok(delays(slow).every((ns) => ns === 5_000), 'a wire that is faster than its sender');
  // GCRA (ITU-T I.371): 4 frames of credit are used up at half the excess.
  const burst = travel({ rateBps: 50e6, burstBytes: 4 * 125 }).journeys;
  t.same(burst.map(({ cameNs }) => cameNs), all.map((i) => Math.max(i * 10_000, (i + 1 - 4) * 20_000)));
  t.end();
});

t.test('jitter: within its bounds, spread, and in order', (t) => {
  const { journeys } = travel({ delayUs: 100, jitterUs: 30 });
  t.same(numbersOf(journeys), all);
  const ns = delays(journeys);
  // To keep the order a frame may wait for the one ahead, which was sent 10 µs before it and so is at most 30 µs late.
  t.ok(ns.every((delay) => delay >= 70_000 && delay <= 130_000));
  t.ok(new Set(ns).size > FRAMES / 4, 'spread');
  t.ok(Math.min(...ns) < 80_000 && Math.max(...ns) > 120_000);
  t.end();
});

t.test('loss: about so many are gone, and only they are', (t) => {
  const { journeys, counters } = travel({ loss: 0.3 });
  t.equal(counters.lost + journeys.length, FRAMES);
  t.match(counters, { offered: FRAMES, delivered: journeys.length });
  // 0.3 × 500 = 150, standard deviation 10.2.
  t.ok(counters.lost > 100 && counters.lost < 200, `${counters.lost} lost`);
  t.equal(travel({ loss: 1 }).journeys.length, 0);
  t.end();
});

t.test('duplicate: about so many come twice, one behind the other', (t) => {
  for (const delayUs of [0, 50]) {
    const { journeys, counters } = travel({ duplicate: 0.2, delayUs });
    const numbers = numbersOf(journeys);
    t.equal(numbers.length, FRAMES + counters.duplicated);
    t.ok(counters.duplicated > 60 && counters.duplicated < 140, `${counters.duplicated} duplicated`);
    t.same([...new Set(numbers)], all);
    t.same(numbers, [...numbers].sort((a, b) => a - b));
    t.ok(numbers.every((number, i) => number !== numbers[i - 2]), 'never three times');
  }
  t.end();
});

t.test('corrupt: about so many have one bit flipped', (t) => {
  for (const delayUs of [0, 50]) {
    const { journeys, counters } = travel({ corrupt: 0.2, delayUs });
    t.equal(journeys.length, FRAMES);
    const flipped = journeys.map(({ bytes }, i) => {
      const wanted = numbered(i, BYTES);
      return Buffer.from(bytes, 'hex').reduce((bits, byte, at) => bits + (byte ^ wanted[at]).toString(2).replaceAll('0', '').length, 0);
    });
    t.ok(flipped.every((bits) => bits <= 1));
    t.equal(flipped.filter((bits) => bits === 1).length, counters.corrupted);
    t.ok(counters.corrupted > 60 && counters.corrupted < 140, `${counters.corrupted} corrupted`);
  }
  t.end();
});

t.test('reorder: about so many are held back, so that later ones overtake', (t) => {
  const { journeys, counters } = travel({ reorder: 0.1, reorderUs: 35, delayUs: 5 });
  t.equal(journeys.length, FRAMES);
  const held = journeys.filter((_, i) => delays(journeys)[i] === 40_000);
  t.equal(held.length, counters.reordered);
  t.ok(delays(journeys).every((ns) => ns === 5_000 || ns === 40_000));
  t.ok(counters.reordered > 20 && counters.reordered < 90, `${counters.reordered} reordered`);
  t.not(numbersOf(journeys).join(), all.join());
  t.same(numbersOf(journeys).sort((a, b) => a - b), all);
  t.end();
});

t.test('queueFrames: what finds a full wire is dropped, or waits where it may (as 802.3 annex 31B)', (t) => {
  // 10 µs apart into a wire that holds each for 100 µs: it has 10 at once.
  const short = travel({ delayUs: 100, queueFrames: 4 });
  t.equal(short.counters.queueFull + short.journeys.length, FRAMES);
  t.ok(short.counters.queueFull > FRAMES / 3, `${short.counters.queueFull} found it full`);
  t.equal(travel({ delayUs: 100, queueFrames: 11 }).counters.queueFull, 0);
  const paused = travel({ delayUs: 100, queueFrames: 4, pause: true });
  t.same(numbersOf(paused.journeys), all);
  t.match(paused.counters, { offered: FRAMES, delivered: FRAMES, queueFull: 0 });
  t.ok(Math.max(...delays(paused.journeys)) > 1_000_000, 'at the price of waiting');
  t.end();
});

t.test('the way back is as the way there, but for what `back` says', (t) => {
  t.equal(travel({ loss: 1, back: { loss: 0 } }, 10, 50, true).journeys.length, 50);
  t.equal(travel({ loss: 1, back: { loss: 0 } }, 10, 50).journeys.length, 0);
  const { journeys, counters, back } = travel({ delayUs: 7 }, 10, 50, true);
  t.ok(delays(journeys).every((ns) => ns === 7_000));
  t.match([counters.offered, back.offered], [0, 50]);
  t.end();
});

t.test('one seed gives one run, byte for byte; another seed another one', (t) => {
  const rough: LinkOptions = { loss: 0.1, duplicate: 0.1, corrupt: 0.1, reorder: 0.1, reorderUs: 30, jitterUs: 5, delayUs: 20 };
  const run = (seed: number): string => JSON.stringify(travel({ ...rough, seed }));
  const times = (seed: number, reverse: boolean): number[] => travel({ ...rough, seed }, 10, 50, reverse).journeys.map(({ cameNs }) => cameNs);
  for (const seed of [0, 1, 42, Number.MAX_SAFE_INTEGER]) {
    const first = run(seed);
    t.ok(run(seed) === first, `seed ${seed}`);
    t.ok(run(seed === 0 ? 7 : seed - 1) !== first, 'a near one');
    t.notSame(times(seed, true), times(seed, false), 'the way back has a fate of its own');
  }
  t.ok(JSON.stringify(travel(rough)) === run(1), 'the default is 1');
  t.end();
});

t.test('a wire that is pulled out loses what is on it, and both ends their carrier', (t) => {
  const wired = new Wired({ link: { delayUs: 100 } });
  const { a, b, link, engine } = wired;
  for (let i = 0; i < 5; i++) a.send(numbered(i));
  engine.step(50);
  link.close();
  wired.run(1000);
  t.equal(b.received.length, 0);
  t.same([a.driver.linkUp, b.driver.linkUp], [false, false]);
  a.send(numbered(9));
  wired.run();
  t.equal(a.nic.counters().queues[1].dropNoCarrier, 1);
  t.equal(a.missing(), 0);
  const again = new Link(engine, b.nic, a.nic);
  t.same([a.driver.linkUp, b.driver.linkUp], [true, true]);
  a.send(numbered(10));
  wired.run();
  t.same(b.received.map(({ bytes }) => numberOf(bytes)), [10]);
  again.close();
  wired.close();
  t.end();
});

t.test('wrong options get one line', (t) => {
  const engine = new Engine({ stepped: true });
  const make = (options: object) => () => new Link(engine, new Nic(engine), new Nic(engine), options);
  const names = 'loss, duplicate, corrupt, reorder, rateBps, delayUs, jitterUs, reorderUs, burstBytes, queueFrames, pause, back, seed';
  const argument: readonly [object, string][] = [
    [{ losss: 1 }, `link option: got "losss", must be one of ${names}`],
    [{ back: { seed: 1 } }, `link option: got "seed", must be one of ${names}`],
    [{ loss: 1.1 }, 'loss: got 1.1, must be a probability from 0 to 1'],
    [{ duplicate: -0.1 }, 'duplicate: got -0.1, must be a probability from 0 to 1'],
    [{ corrupt: NaN }, 'corrupt: got NaN, must be a probability from 0 to 1'],
    [{ back: { loss: 2 } }, 'loss: got 2, must be a probability from 0 to 1'],
    [{ reorder: 0.1 }, 'reorderUs: got undefined, must be above 0 where reorder is: by how much a frame is held back'],
    [{ delayUs: -1 }, 'delayUs: got -1, must be a number from 0 to 1e12'],
    [{ jitterUs: Infinity }, 'jitterUs: got Infinity, must be a number from 0 to 1e12'],
    [{ rateBps: 0.5 }, 'rateBps: got 0.5, must be 0 for an infinite rate, or at least 1'],
    [{ queueFrames: 1.5 }, 'queueFrames: got 1.5, must be a whole number from 0 to 2^32 - 1'],
    [{ burstBytes: 2 ** 32 }, 'burstBytes: got 4294967296, must be a whole number from 0 to 2^32 - 1'],
    [{ seed: -1 }, 'seed: got -1, must be a whole number from 0 to 2^53 - 1'],
    [{ seed: 2 ** 53 }, 'seed: got 9007199254740992, must be a whole number from 0 to 2^53 - 1'],
  ];
  for (const [options, message] of argument) refuses(t, make(options), 'ERR_INVALID_ARGUMENT', message);
  const [a, b, c] = [1, 2, 3].map(() => new Nic(engine));
  const link = new Link(engine, a, b);
  const taken = 'an end of this link is plugged into another one already';
  refuses(t, () => new Link(engine, a, c), 'ERR_SYSTEM', taken);
  refuses(t, () => new Link(engine, c, c), 'ERR_SYSTEM', taken);
  link.close();
  const elsewhere = new Engine({ stepped: true });
  const other = 'both ends of a link must be on its engine';
  refuses(t, () => new Link(elsewhere, a, new Nic(elsewhere)), 'ERR_INVALID_ARGUMENT', other);
  refuses(t, () => new Link(elsewhere, new Nic(elsewhere), new Replay(engine, { frames: [] })), 'ERR_INVALID_ARGUMENT', other);
  t.end();
});
