// User-level hosts for the UDP benches, made anew for each measurement: two on a wire, or one before a tester.
import { type UdpSocketOptions, type UdpSocket } from '../../src/stack/index.js';
import { Host } from '../../src/host/index.js';
import { Engine, Link, NicDriver, Nic, Replay, addon } from '../../src/nic/index.js';
import { nowNs } from '../context.js';
import { ENGINE_CPU } from '../cores.js';
import { UdpReceive, type PortTables } from '../../src/stack/udp-receive.js';
import { udpFrame } from './frames.js';

const A = '198.18.0.1';
const B = '198.18.0.2';
const PORT = 5001;
/** For V8 to compile the loops of new hosts, and the neighbours to find each other. */
const WARM_UP_MS = 60;

interface TwoHosts {
  engine: Engine;
  a: Host;
  b: Host;
  close(): void;
}

/** a and b on a wire that makes a sender wait where the other has no buffer, so that nothing is lost. */
function twoHosts(mtu: number): TwoHosts {
  const engine = new Engine({ cpu: ENGINE_CPU });
  const host = (seed: number, address: string): Host =>
    new Host(engine, {
      seed,
      interfaces: [{ addresses: [`${address}/24`], ipv6: false, nic: { mtu, regionBytes: 2 ** 21 + 800 * (mtu + 256) } }],
    });
  const a = host(1, A);
  const b = host(2, B);
  const link = new Link(engine, a.nics[0], b.nics[0], { pause: true });
  return {
    engine,
    a,
    b,
    close: () => {
      link.close();
      a.stop();
      b.stop();
    },
  };
}

export const mtuFor = (payloadBytes: number): number => (payloadBytes > 1472 ? 9000 : 1500);

/** RFC 863: for what is sent only to have been sent. */
const DISCARD_PORT = 9;
/** The testers' station: what their frames say they are from. */
const TESTER_MAC = 0x020000000002;

/** Makes a station (the tester's) known to a host as its neighbour of that address, as if it had answered. */
export function introduce(host: Host, address: string, mac = TESTER_MAC): void {
  const [{ neighbours }] = host.interfaces;
  const socket = host.openUdp();
  socket.flow(address, DISCARD_PORT).send(new Uint8Array(1));
  for (const neighbour of neighbours.list()) neighbours.confirm(neighbour, mac);
  socket.close();
}

/** Runs `turn` for `ms`, and returns what it moved a second. `turn` returns how many datagrams. */
function rate(turn: () => number, ms: number): number {
  const run = (forMs: number): [number, number] => {
    const start = nowNs();
    const end = start + forMs * 1e6;
    let now = start;
    let moved = 0;
    while (now < end) {
      for (let i = 0; i < 64; i++) moved += turn();
      now = nowNs();
    }
    return [moved, now - start];
  };
  run(WARM_UP_MS);
  const [moved, ns] = run(ms);
  return (moved / ns) * 1e9;
}

/**
 * One way from a to b, both on this thread: payloads are written where the card will read them, and read where the card has
 * put them; or, with `copy`, copied out of one array and into another.
 */
export function oneWay(payloadBytes: number, copy: boolean, ms: number): number {
  const hosts = twoHosts(mtuFor(payloadBytes));
  const { a, b } = hosts;
  const mine = new Uint8Array(payloadBytes).fill(0x55);
  const { memory } = b.interfaces[0];
  // Alike modulo 4 to where payloads lie, as Memory.copy asks: the best copy we know.
  const theirs = memory.reserve(payloadBytes + 8) + 4;
  let received = 0;
  let sum = 0;
  b.openUdp({
    port: PORT,
    onDatagrams: (batch) => {
      const { from, to, offset, length, u8 } = batch;
      for (let i = from; i < to; i++) {
        if (copy) {
          memory.copy(theirs, offset[i], length[i]);
          sum += u8[theirs];
        } else {
          sum += u8[offset[i]];
        }
      }
      received += to - from;
    },
  });
  const socket = a.openUdp();
  const flow = socket.flow(B, PORT);
  const [{ pair }] = a.interfaces;
  let number = 0;
  const turn = (): number => {
    const before = received;
    for (let i = Math.min(64, pair.tx.ring.room); i > 0; i--) {
      if (copy) {
        mine[0] = number++;
        flow.send(mine);
      } else {
        const handle = socket.allocate();
        if (handle === -1) break;
        const at = socket.payloadAt(handle);
        socket.u8[at] = number++;
        flow.sendBuffer(handle, at, payloadBytes);
      }
    }
    a.interfaces[0].publish();
    a.stack.pollCards();
    b.stack.pollCards();
    return received - before;
  };
  try {
    return rate(turn, ms);
  } finally {
    hosts.close();
    if (sum < 0) throw new Error('bytes are not negative');
  }
}

/** Echoes with one datagram on its way: round trips in ns, as many as fit into `ms`. */
export function echo(payloadBytes: number, ms: number): number[] {
  const hosts = twoHosts(mtuFor(payloadBytes));
  const { a, b } = hosts;
  let back = 0;
  b.openUdp({
    port: PORT,
    onDatagrams: (batch, socket) => {
      for (let i = batch.from; i < batch.to; i++) socket.reply(batch, i);
    },
  });
  const count = (batch: { from: number; to: number }): void => {
    back += batch.to - batch.from;
  };
  const socket: UdpSocket = a.openUdp({ onDatagrams: count } satisfies UdpSocketOptions);
  const flow = socket.flow(B, PORT);
  const data = new Uint8Array(payloadBytes);
  const times: number[] = [];
  try {
    const end = nowNs() + (ms + WARM_UP_MS) * 1e6;
    // At least one, however busy the machine is; but not for ever.
    const last = end + 5e9;
    for (let now = nowNs(); now < end || (times.length === 0 && now < last); ) {
      const before = now;
      const wanted = back + 1;
      flow.send(data);
      a.interfaces[0].publish();
      while (back < wanted && now < last) {
        b.stack.pollCards();
        a.stack.pollCards();
        now = nowNs();
      }
      if (end - before < ms * 1e6) times.push(now - before);
    }
    return times;
  } finally {
    hosts.close();
  }
}

/** A host that answers what a tester sends as fast as it can; returns a turn of it, which returns how many it answered. */
export function echoServer(): () => number {
  const engine = new Engine({ cpu: ENGINE_CPU });
  const host = new Host(engine, { interfaces: [{ addresses: [`${A}/24`], ipv6: false, nic: { mac: '02:00:00:00:00:01' } }] });
  const tester = new Replay(engine, { frames: [udpFrame(64)] }, { timing: 'fastest', limit: Number.MAX_SAFE_INTEGER });
  new Link(engine, tester, host.nics[0], { pause: true });
  let answered = 0;
  host.openUdp({
    port: PORT,
    onDatagrams: (batch, own) => {
      for (let i = batch.from; i < batch.to; i++) own.reply(batch, i);
      answered += batch.to - batch.from;
    },
  });
  introduce(host, B);
  tester.start();
  return () => {
    const before = answered;
    host.stack.pollCards();
    return answered - before;
  };
}

export type Stage = 'driver alone' | 'and classification' | 'whole stack';

/** A stepped engine fills the ring, unmeasured; then all is taken from it. ns a frame of 64 bytes, after a warm-up. */
export function receiveCost(stage: Stage, rounds: number): number {
  const engine = new Engine({ stepped: true });
  let frames = 0;
  let take: () => void;
  let nic: Nic;
  let host: Host | undefined;
  if (stage === 'whole stack') {
    host = new Host(engine, { interfaces: [{ addresses: [`${A}/24`], ipv6: false, nic: { mac: '02:00:00:00:00:01' } }] });
    const { stack } = host;
    [nic] = host.nics;
    stack.openUdp({
      port: PORT,
      onDatagrams: (batch) => {
        frames += batch.to - batch.from;
      },
    });
    take = () => {
      stack.pollCards();
    };
  } else {
    nic = new Nic(engine, { mac: '02:00:00:00:00:01' });
    const ports: PortTables = { v4: new Uint16Array(65536).fill(1), v6: new Uint16Array(65536) };
    let classify = (_count: number): void => undefined;
    let put: (from: number, to: number) => number = () => 0;
    const driver: NicDriver = new NicDriver(nic, {
      handler: {
        frames: (batch) => {
          classify(batch.count);
          frames += batch.count;
          put(0, batch.count);
        },
      },
    });
    const [{ batch }] = driver.pairs;
    put = driver.pool.puts(batch.handle);
    if (stage === 'and classification') {
      const own = new Int32Array(8);
      const bytes = new Uint8Array(own.buffer);
      bytes.set([2, 0, 0, 0], 0); // the first two bytes of the address, read as a half
      bytes.set([0, 0, 0, 1], 4);
      bytes.set([198, 18, 0, 1, 198, 18, 0, 255], 8);
      const udp = new UdpReceive(nic.memory, batch, own, ports);
      classify = (count) => {
        udp.run(count);
      };
    }
    take = () => {
      driver.poll();
    };
  }
  const tester = new Replay(engine, { frames: [udpFrame(64)] }, { timing: 'fastest', limit: Number.MAX_SAFE_INTEGER });
  const link = new Link(engine, tester, nic, { pause: true });
  engine.step(1);
  tester.start();
  let ns = 0;
  for (let round = -rounds; round < rounds; round++) {
    if (round === 0) frames = ns = 0;
    engine.step(engine.nowUs());
    const start = nowNs();
    const before = frames;
    for (let i = 0; i < 8 && (i === 0 || frames > before + 32 * i); i++) take();
    ns += nowNs() - start;
  }
  tester.stop();
  link.close();
  host?.stop();
  nic.close();
  return ns / frames;
}

/**
 * One payload of `payloadBytes` to `destinations` addresses behind one router: the sender's CPU time for all of them, ns a
 * destination, with the buffers' way back into their pools; the engine works on its own core and is waited for between
 * rounds, unmeasured. And the software's copies, a destination; and what goes end to end, engine included.
 */
export function fanOut(shared: boolean, payloadBytes: number, destinations: number, rounds: number): { ns: number; wholeNs: number; copiedBytes: number } {
  const engine = new Engine({ cpu: ENGINE_CPU });
  const host = new Host(engine, {
    interfaces: [{
      addresses: [`${A}/24`],
      ipv6: false,
      driver: { queueSize: 4096, buffers: 3 * 4096 },
      nic: { queueSizeMax: 4096, regionBytes: 2 ** 25 + 2 ** 24 },
    }],
    routes: [{ prefix: '198.19.0.0/16', gateway: B }],
  });
  const [iface] = host.interfaces;
  const { tx } = iface.pair;
  const sink = new Replay(engine, { frames: [] });
  const link = new Link(engine, host.nics[0], sink);
  const socket = host.openUdp();
  const flows = Array.from({ length: destinations }, (_, i) => socket.flow(`198.19.${i >> 8}.${i & 255}`, PORT));
  introduce(host, B); // the router
  const handle = socket.allocate();
  const at = socket.payloadAt(handle);
  const payload = new Uint8Array(payloadBytes).fill(7);
  socket.u8.set(payload, at);
  let ns = 0;
  let wholeNs = 0;
  let copied = 0;
  for (let round = -rounds; round < rounds; round++) {
    if (round === 0) {
      ns = wholeNs = 0;
      copied = host.stack.copiedBytes;
    }
    const start = nowNs();
    const startCpu = addon.bench.threadNs();
    for (const flow of flows) {
      const result = shared ? flow.sendShared(handle, at, payloadBytes) : flow.send(payload);
      if (result !== 'sent') throw new Error(`fan-out: a send was ${result}`);
    }
    iface.publish();
    ns += addon.bench.threadNs() - startCpu;
    const sent = nowNs();
    while (tx.ring.used() < tx.ring.outstanding) if (nowNs() - sent > 1e9) throw new Error('fan-out: the engine does not take what was sent');
    wholeNs += nowNs() - start;
    const drainedCpu = addon.bench.threadNs();
    tx.reclaim();
    ns += addon.bench.threadNs() - drainedCpu;
  }
  link.close();
  sink.close();
  const each = rounds * destinations;
  const result = { ns: ns / each, wholeNs: wholeNs / each, copiedBytes: (host.stack.copiedBytes - copied) / each };
  host.stop();
  return result;
}
