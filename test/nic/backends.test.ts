// What else a wire may end in (replay, recorder), and what a wire does to frames on their way. In virtual time.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Engine, Link, type LinkOptions, Nic, Recorder, Replay, type ReplayOptions } from '../../src/nic/index.js';
import { Host, MAC_A, MAC_B, Wired, numbered, refuses } from './rig.js';

const TRAFFIC = fileURLToPath(new URL('../../../test/data/traffic.pcapng', import.meta.url));
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

interface Packet {
  interface: number;
  timeNs: number;
  /** 1 came in, 2 went out. */
  direction: number;
  bytes: Uint8Array;
}

/** The packets of a pcapng file of this machine's byte order with nanosecond stamps, read apart from the C++ (draft-ietf-opsawg-pcapng). */
function readPcapng(path: string): { names: string[]; packets: Packet[] } {
  const file = readFileSync(path);
  const names: string[] = [];
  const packets: Packet[] = [];
  for (let at = 0, length: number; at < file.length; at += length) {
    length = file.readUInt32LE(at + 4);
    const type = file.readUInt32LE(at);
    const options = (from: number): Map<number, Buffer> => {
      const found = new Map<number, Buffer>();
      for (let option = from; option < at + length - 4 && file.readUInt16LE(option) !== 0; ) {
        const bytes = file.readUInt16LE(option + 2);
        found.set(file.readUInt16LE(option), file.subarray(option + 4, option + 4 + bytes));
        option += 4 + Math.ceil(bytes / 4) * 4;
      }
      return found;
    };
    if (type === 1) {
      const described = options(at + 16);
      if (described.get(9)?.[0] !== 9) throw new Error('this reader wants nanoseconds');
      names.push(described.get(2)?.toString() ?? '');
    } else if (type === 6) {
      const bytes = file.readUInt32LE(at + 20);
      packets.push({
        interface: file.readUInt32LE(at + 8),
        timeNs: Number((BigInt(file.readUInt32LE(at + 12)) << 32n) | BigInt(file.readUInt32LE(at + 16))),
        direction: (options(at + 28 + Math.ceil(bytes / 4) * 4).get(2)?.readUInt32LE(0) ?? 0) & 3,
        bytes: file.subarray(at + 28, at + 28 + bytes),
      });
    }
  }
  return { names, packets };
}

const traffic = ((): Packet[] => {
  const { packets } = readPcapng(TRAFFIC);
  // Doubles do not hold nanoseconds since 1970; differences of a minute are exact to a microsecond's fraction.
  const file = readFileSync(TRAFFIC);
  const stamps: bigint[] = [];
  for (let at = 0; at < file.length; at += file.readUInt32LE(at + 4)) {
    if (file.readUInt32LE(at) === 6) stamps.push((BigInt(file.readUInt32LE(at + 12)) << 32n) | BigInt(file.readUInt32LE(at + 16)));
  }
  return packets.map((packet, i) => ({ ...packet, timeNs: Number(stamps[i] - stamps[0]) }));
})();

/** A replay into a promiscuous card, every event on the way stepped by itself: when each frame came, in ns. */
class Played {
  readonly engine = new Engine({ stepped: true });
  readonly host: Host;
  readonly replay: Replay;
  readonly link: Link;
  readonly timesNs: number[] = [];

  constructor(source: ConstructorParameters<typeof Replay>[1], options: ReplayOptions, link: LinkOptions = {}, private readonly echo = false) {
    this.host = new Host(this.engine, { queueSizeMax: 1024 }, { promiscuous: true, queueSize: 1024 });
    this.replay = new Replay(this.engine, source, options);
    this.link = new Link(this.engine, this.replay, this.host.nic, link);
    this.host.onFrame = ({ bytes }) => {
      this.timesNs.push(Math.round(this.engine.nowUs() * 1e3));
      if (this.echo) this.host.send(bytes);
    };
  }

  /** Until nothing is due any more, or until `untilUs`. */
  run(untilUs = Infinity): this {
    for (let due = this.engine.step(); ; due = this.engine.step(due)) {
      while (this.host.driver.poll() > 0) this.engine.step();
      due = this.engine.step();
      if (due > untilUs || due === Infinity) return this;
    }
  }

  get frames(): string[] {
    return this.host.received.map(({ bytes }) => hex(bytes));
  }
}

t.test('a capture is replayed at its own times, or so many times faster, byte for byte', (t) => {
  t.equal(traffic.length, 523, 'as test/data/README.md says');
  for (const speed of [1, 10, 0.5]) {
    const played = new Played(TRAFFIC, { speed });
    played.engine.step(500);
    played.replay.start();
    played.run();
    t.same(played.frames, traffic.map(({ bytes }) => hex(bytes)), `speed ${speed}`);
    t.same(played.timesNs, traffic.map(({ timeNs }) => 500_000 + Math.round(timeNs / speed)), `speed ${speed}`);
    t.match(played.replay.counters(), { frames: 523, cut: 0, sent: 523, refused: 0, done: true });
    t.equal(played.host.missing(), 0);
  }
  t.end();
});

t.test('a capture is replayed at a rate, or at once', (t) => {
  const rate = new Played(TRAFFIC, { timing: 'rate', framesPerSecond: 3000 });
  rate.replay.start();
  rate.run();
  t.same(rate.timesNs, traffic.map((_, i) => Math.round((i * 1e9) / 3000)));
  t.same(rate.frames, traffic.map(({ bytes }) => hex(bytes)));
  const fastest = new Played(TRAFFIC, { timing: 'fastest' });
  fastest.replay.start();
  fastest.run();
  t.same(fastest.timesNs, traffic.map(() => 0));
  t.same(fastest.frames, traffic.map(({ bytes }) => hex(bytes)));
  t.end();
});

t.test('nothing is sent before start() nor after stop()', (t) => {
  const played = new Played(TRAFFIC, { timing: 'rate', framesPerSecond: 1000 });
  t.equal(played.engine.step(10_000), Infinity);
  played.replay.start();
  played.run(10_000 + 9_999);
  t.equal(played.frames.length, 10);
  played.replay.stop();
  t.equal(played.engine.step(1e6), Infinity);
  t.match(played.replay.counters(), { sent: 10, done: false });
  t.end();
});

t.test('a limit cuts a replay short or lets it start over, a mean gap after its last frame', (t) => {
  for (const limit of [1, 522, 523, 1500]) {
    const played = new Played(TRAFFIC, { limit });
    played.replay.start();
    played.run();
    const last = traffic[522].timeNs;
    const round = last + Math.floor(last / 522);
    const wanted = Array.from({ length: limit }, (_, i) => Math.floor(i / 523) * round + traffic[i % 523].timeNs);
    t.same(played.timesNs, wanted, `limit ${limit}`);
    t.equal(played.frames[limit - 1], hex(traffic[(limit - 1) % 523].bytes));
    t.match(played.replay.counters(), { sent: limit, done: true });
  }
  t.end();
});

t.test('frames from a list, at times of their own; an empty list is a sink', (t) => {
  const frames = [0, 1, 2, 3].map((number) => numbered(number, 60 + number));
  const played = new Played({ frames, timesUs: [5, 5, 7.25, 1000] }, {});
  played.replay.start();
  played.run();
  t.same(played.frames, frames.map(hex));
  t.same(played.timesNs, [0, 0, 2250, 995_000], 'from the first one on');
  const sink = new Played({ frames: [] }, {});
  sink.host.send(numbered(1, 77));
  sink.run();
  t.match(sink.replay.counters(), { frames: 0, sent: 0, returned: 1, returnedBytes: 77, done: true });
  t.end();
});

t.test('latencies run from when a frame was due: what could not be sent in time counts too', (t) => {
  const frames = Array.from({ length: 20 }, (_, i) => numbered(i, 100));
  const stamped = { timing: 'rate', framesPerSecond: 1000, stamp: 'due' } as const;
  const echoed = new Played({ frames }, { ...stamped, latencies: 15 }, { delayUs: 100, back: { delayUs: 50.5 } }, true);
  echoed.replay.start();
  echoed.run();
  t.same([...echoed.replay.latenciesNs()], new Array<number>(15).fill(150_500));
  t.match(echoed.replay.counters(), { returned: 20, returnedBytes: 2000, latenciesLost: 5 });

  // A receiver that looks up every 10 ms, with room for 4 frames, over a wire that makes the sender wait.
  const engine = new Engine({ stepped: true });
  const slow = new Host(engine, {}, { promiscuous: true, queueSize: 4 });
  const replay = new Replay(engine, { frames }, { ...stamped, latencies: 20 });
  const link = new Link(engine, replay, slow.nic, { pause: true });
  slow.onFrame = ({ bytes }) => slow.send(bytes);
  replay.start();
  for (let us = 10_000; us <= 60_000; us += 10_000) {
    engine.step(us);
    slow.driver.poll();
    engine.step();
  }
  const wanted = frames.map((_, i) => (10_000 * (Math.floor(i / 4) + 1) - 1000 * i) * 1e3);
  t.same([...replay.latenciesNs()], wanted);
  t.match(link.counters()[0], { offered: 20, delivered: 20, refused: 0 });

  const sent = new Played({ frames }, { ...stamped, stamp: 'sent', latencies: 20 }, { delayUs: 100, rateBps: 1e6 }, true);
  sent.replay.start();
  sent.run();
  t.equal(sent.replay.latenciesNs().length, 20, 'or from when it was sent');
  t.end();
});

t.test('what can not be replayed gets one line', (t) => {
  const dir = t.testdir({ empty: '', text: 'hello, world\n' });
  const engine = new Engine({ stepped: true });
  const file = readFileSync(TRAFFIC);
  writeFileSync(join(dir, 'truncated'), file.subarray(0, 10_001));
  writeFileSync(join(dir, 'old'), Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex'));
  mkdirSync(join(dir, 'folder'));
  const open = (name: string, message: RegExp): void =>
    refuses(t, () => new Replay(engine, join(dir, name)), 'ERR_SYSTEM', new RegExp(`^${join(dir, name)}: ${message.source}$`), name);
  open('empty', /the file is empty: a pcapng file starts with 0a0d0d0a/);
  open('text', /not a pcapng file: starts with 68656c6c, where 0a0d0d0a is right/);
  open('old', /not a pcapng file: starts with d4c3b2a1, which is the older pcap format; convert it with: editcap -F pcapng IN OUT/);
  open('truncated', /block at byte \d+ .*truncated.*/);
  open('missing', /No such file or directory/);
  open('folder', /Is a directory/);
  const frames = [numbered(0, 40)];
  const list = (source: object, options: object = {}) => () => new Replay(engine, source as { frames: Uint8Array[] }, options);
  refuses(t, list({ frames: [new Uint8Array(13)] }), 'ERR_SYSTEM', 'a frame of 13 bytes: must be from 14 to 65536');
  refuses(t, list({ frames }, { stamp: 'due' }), 'ERR_SYSTEM', 'a frame of 40 bytes is too short for a stamp: at least 50');
  refuses(t, list({ frames: [] }, { limit: 1 }), 'ERR_SYSTEM', 'a limit needs frames to send');
  const argument: readonly [object, string][] = [
    [{ timing: 'later' }, 'timing: got "later", must be original, fastest or rate'],
    [{ timing: 'rate' }, 'framesPerSecond: got undefined, must be from 0.000001 to 1000000000'],
    [{ timing: 'rate', framesPerSecond: 0 }, 'framesPerSecond: got 0, must be from 0.000001 to 1000000000'],
    [{ stamp: true }, 'stamp: got true, must be due or sent'],
    [{ speed: 0 }, 'speed: got 0, must be from 0.000001 to 1000000000'],
    [{ speed: NaN }, 'speed: got NaN, must be from 0.000001 to 1000000000'],
    [{ limit: -1 }, 'limit: got -1, must be a whole number from 0 to 9007199254740991'],
    [{ latencies: 1e10 }, 'latencies: got 10000000000, must be a whole number from 0 to 134217728'],
  ];
  for (const [options, message] of argument) refuses(t, list({ frames }, options), 'ERR_INVALID_ARGUMENT', message);
  for (const timesUs of [[], [-1], [NaN]]) {
    refuses(t, list({ frames, timesUs }), 'ERR_INVALID_ARGUMENT', 'timesUs: got an array, must be one for each frame, from 0 on, none before the one ahead');
  }
  refuses(t, list({ frames: [...frames, ...frames], timesUs: [2, 1] }), 'ERR_INVALID_ARGUMENT', /^timesUs: got an array/);
  t.end();
});

// --- the recorder ---

/** Some frames both ways between two hosts, recorded; the file. */
function record(path: string): { sent: string[]; wired: Wired } {
  const wired = new Wired({ link: { delayUs: 25 } });
  const recorder = new Recorder(wired.engine, path);
  recorder.add(wired.a.nic, 'left');
  recorder.add(wired.b.nic, 'right');
  const sent: string[] = [];
  for (let i = 0; i < 50; i++) {
    const [from, to] = i % 3 === 0 ? [wired.b, MAC_A] : [wired.a, MAC_B];
    const frame = numbered(i, 60 + ((i * 37) % 1400), to);
    sent.push(hex(frame));
    wired.run(i * 100);
    from.send(frame);
    wired.run(i * 100 + 50);
  }
  t.same(recorder.counters(), { written: 100, lost: 0 });
  recorder.close();
  wired.a.send(numbered(51));
  wired.run();
  return { sent, wired };
}

t.test('a recording holds what cards sent and took, when, and by which; it can be replayed', (t) => {
  const path = join(t.testdir({ old: 'an older file' }), 'old');
  const { sent } = record(path);
  const { names, packets } = readPcapng(path);
  t.same(names, ['left', 'right']);
  const wanted = sent.flatMap((bytes, i) => {
    const from = i % 3 === 0 ? 1 : 0;
    return [[from, 2, i * 100_000, bytes], [1 - from, 1, i * 100_000 + 25_000, bytes]];
  });
  t.same(packets.map((packet) => [packet.interface, packet.direction, packet.timeNs, hex(packet.bytes)]), wanted);
  const played = new Played(path, {});
  played.replay.start();
  played.run();
  t.same(played.frames, packets.map(({ bytes }) => hex(bytes)));
  t.same(played.timesNs, packets.map(({ timeNs }) => timeNs));
  t.end();
});

const tshark = spawnSync('tshark', ['--version']).status === 0;
t.test('tshark reads a recording without complaint', { skip: tshark ? false : 'tshark is not on the PATH' }, (t) => {
  const path = join(t.testdir({}), 'recording.pcapng');
  record(path);
  const read = (...more: string[]) => spawnSync('tshark', ['-r', path, ...more], { encoding: 'utf8' });
  const { stdout, stderr, status } = read('-T', 'fields', '-e', 'frame.interface_name', '-e', 'frame.len', '-e', '_ws.malformed');
  t.equal(status, 0);
  t.equal(stderr.replace(/^Running as user "root".*\n/, ''), '');
  const lines = stdout.trimEnd().split('\n').map((line) => line.split('\t'));
  t.equal(lines.length, 100);
  t.same([...new Set(lines.map(([name]) => name))].sort(), ['left', 'right']);
  t.same(lines.map(([, length]) => Number(length)), readPcapng(path).packets.map(({ bytes }) => bytes.length));
  t.ok(lines.every(([, , malformed]) => malformed === undefined || malformed === ''));
  t.end();
});

t.test('what can not be recorded gets one line', (t) => {
  const engine = new Engine({ stepped: true });
  const path = join(t.testdir({}), 'no', 'such', 'folder');
  refuses(t, () => new Recorder(engine, path), 'ERR_SYSTEM', `cannot create ${path}: No such file or directory`);
  const recorder = new Recorder(engine, join(t.testdir({}), 'a'));
  const elsewhere = new Nic(new Engine({ stepped: true }));
  refuses(t, () => recorder.add(elsewhere, 'x'), 'ERR_INVALID_ARGUMENT', 'a recorder and its NICs must be on one engine');
  recorder.close();
  t.end();
});
