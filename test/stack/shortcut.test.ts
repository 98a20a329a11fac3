// The short way of a datagram (udp-receive.ts) and the long one (ip.ts, udp.ts) come to the same: two hosts that are twins, one of
// which has no short way, get the same frames.
import fc from 'fast-check';
import t from 'tap';
import { Slot, UdpReceive } from '../../src/stack/udp-receive.js';
import { EtherType } from '../../src/stack/wire/ethernet.js';
import { Protocol } from '../../src/stack/wire/ipv4.js';
import { Lab, PEER4, PEER6, PEERL, PEER_MAC, US, US4, US6, USL, US_MAC, ethernet, hexOf, ip4, ip6, udpSegment } from './rig.js';

const SECOND4 = '198.19.0.1';
const SECOND6 = 'fd01::1';
const OTHER_WIRE4 = '198.20.0.1';

const short: (this: UdpReceive, n: number) => void = Reflect.get(UdpReceive.prototype, 'run');
let shortcuts = 0;

class Twin {
  readonly lab = new Lab({
    forwarding: false,
    interfaces: [
      { addresses: [`${US4}/24`, `${SECOND4}/16`, `${US6}/64`, `${SECOND6}/64`], nic: { mac: US } },
      { addresses: [`${OTHER_WIRE4}/24`] },
    ],
    reassembly: { timeoutUs: 1e6, maxDatagrams: 8 },
  });
  private delivered: string[] = [];
  private readonly before: Record<string, number> = {};

  constructor(private readonly long: boolean) {
    for (const { name, connect, ...options } of [
      { name: 'any', port: 5000 },
      { name: 'here4', port: 5001, address: US4 },
      { name: 'second4', port: 5001, address: SECOND4 },
      { name: 'here6', port: 5001, address: US6 },
      { name: 'connected', port: 5002, connect: PEER4 },
      { name: 'only4', port: 5003, family: 4 as const },
      { name: 'only6', port: 5004, family: 6 as const },
    ]) {
      const socket = this.lab.host.openUdp({
        ...options,
        onDatagrams: (batch) => {
          for (let i = batch.from; i < batch.to; i++) {
            this.delivered.push(`${name} ${batch.source(i).toString()} ${batch.sourcePort(i)} > ${batch.destination(i).toString()} ${hexOf(batch.payload(i))}`);
          }
        },
      });
      if (connect !== undefined) socket.connect(4000, connect);
    }
  }

  /** What frames that come in one batch lead to. */
  take(frames: readonly Uint8Array[]): { delivered: string[]; sent: string[]; counters: Record<string, number> } {
    const { lab, long } = this;
    UdpReceive.prototype.run = function (this: UdpReceive, n: number): void {
      if (long) {
        this.slots.fill(Slot.Slow, 0, n);
        return;
      }
      short.call(this, n);
      for (let i = 0; i < n; i++) if (this.slots[i] !== Slot.Slow) shortcuts++;
    };
    this.delivered = [];
    lab.take();
    for (const frame of frames) lab.cards[0].send(frame);
    lab.advance(1000);
    UdpReceive.prototype.run = short;
    const { ip, udp, icmp, arp, nd } = lab.stack;
    const layers = { ip: ip.counters, reassembly: ip.reassembly.counters, udp: udp.counters, icmp: icmp.counters, arp: arp.counters, nd: nd.counters, card: lab.iface.counters };
    const counters: Record<string, number> = {};
    for (const [layer, c] of Object.entries(layers)) {
      for (const [name, value] of Object.entries(c as unknown as Record<string, number>)) {
        const key = `${layer}.${name}`;
        counters[key] = value - (this.before[key] ?? 0);
        this.before[key] = value;
      }
    }
    return { delivered: this.delivered, sent: lab.take().map(({ frame }) => hexOf(frame)), counters };
  }
}

const OURS4 = [US4, SECOND4, OTHER_WIRE4];
const OURS6 = [US6, SECOND6, USL];
const SOURCES4 = [...OURS4, '198.18.0.255', '198.19.255.255', '255.255.255.255', '0.0.0.0', '0.1.2.3', '127.0.0.1', '224.0.0.1', '240.0.0.1', '10.0.0.1', '169.254.1.1'];
const TARGETS4 = ['198.18.0.255', '255.255.255.255', '224.0.0.1', '198.18.0.77', '127.0.0.1', '0.0.0.0', '8.8.8.8'];
const SOURCES6 = [...OURS6, '::', '::1', 'ff02::1', '::ffff:198.18.0.2', '2001:db8::1', 'fd00::1:1'];
const TARGETS6 = ['ff02::1', 'ff02::1:ff00:1', '::1', '::', 'fd00::77', 'fe80::77'];

const mostly = <T>(usual: readonly T[], rare: readonly T[]): fc.Arbitrary<T> => fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...usual) }, { weight: 2, arbitrary: fc.constantFrom(...rare) });

interface Plan {
  v6: boolean;
  source: string;
  destination: string;
  to: number;
  port: number;
  sourcePort: number;
  payload: Uint8Array;
  checksum: 'right' | 'none' | 'wrong';
  extra: 'none' | 'options' | 'first' | 'last' | 'atomic' | 'reserved';
  udpLength: number;
  ttl: number;
  padding: number;
  changes: readonly (readonly [number, number])[];
}

const plan: fc.Arbitrary<Plan> = fc.boolean().chain((v6) =>
  fc.record({
    v6: fc.constant(v6),
    source: v6 ? mostly([PEER6, PEERL], SOURCES6) : mostly([PEER4], SOURCES4),
    destination: v6 ? mostly(OURS6, TARGETS6) : mostly(OURS4, TARGETS4),
    to: mostly([US_MAC], [0xffffffffffff, 0x01005e000001, 0x333300000001, 0x02000000000c]),
    port: fc.constantFrom(5000, 5000, 5001, 5002, 5003, 5004, 5005),
    sourcePort: fc.constantFrom(4000, 4001, 0),
    payload: fc.uint8Array({ maxLength: 40 }),
    checksum: mostly(['right' as const], ['none' as const, 'wrong' as const]),
    extra: mostly(['none' as const], ['options' as const, 'first' as const, 'last' as const, 'atomic' as const, 'reserved' as const]),
    udpLength: mostly([0], [-9, -1, 1, 20, 300]),
    ttl: fc.constantFrom(64, 1, 0, 255),
    padding: fc.constantFrom(0, 0, 1, 18),
    changes: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.array(fc.tuple(fc.nat(90), fc.nat(255)), { minLength: 1, maxLength: 2 }) }),
  }),
);

function build({ v6, source, destination, to, port, sourcePort, payload, checksum, extra, udpLength, ttl, padding, changes }: Plan): Uint8Array {
  let segment = udpSegment(source, destination, sourcePort, port, payload);
  if (udpLength !== 0) segment.set([(segment.length + udpLength) >>> 8, segment.length + udpLength], 4);
  if (checksum === 'none') segment.set([0, 0], 6);
  if (checksum === 'wrong') segment[7] ^= 0x10;
  if (extra === 'first') segment = segment.slice(0, 8);
  if (extra === 'last') segment = segment.slice(8);
  let packet: Uint8Array;
  if (v6) {
    const header =
      extra === 'options' ? [17, 0, 1, 4, 0, 0, 0, 0] : extra === 'first' ? [17, 0, 0, 1, 0, 0, 0, 9] : extra === 'last' ? [17, 0, 0, 8, 0, 0, 0, 9] : extra === 'atomic' ? [17, 0, 0, 0, 0, 0, 0, 9] : [];
    packet = ip6(extra === 'options' ? 60 : header.length > 0 ? 44 : Protocol.Udp, Uint8Array.from([...header, ...segment]), { source, destination, hopLimit: ttl });
  } else {
    packet = ip4(Protocol.Udp, segment, {
      source, destination, ttl,
      ...(extra === 'options' && { options: Uint8Array.of(1, 1, 1, 0) }), ...(extra === 'first' && { moreFragments: true }), ...(extra === 'last' && { fragmentOffset: 8 }), ...(extra === 'atomic' && { dontFragment: true }),
    });
    if (extra === 'reserved') {
      // The bit that must be zero (RFC 791 §3.1), with a checksum that fits: 0x8000 more in one word, less in the sum.
      packet[6] |= 0x80;
      const sum = ((packet[10] << 8) | packet[11]) - 0x8000;
      packet.set([(sum < 0 ? sum + 0xffff : sum) >>> 8, sum < 0 ? sum + 0xffff : sum], 10);
    }
  }
  const frame = ethernet(v6 ? EtherType.Ipv6 : EtherType.Ipv4, Uint8Array.from([...packet, ...new Uint8Array(padding)]), to, PEER_MAC);
  for (const [at, value] of changes) if (at < frame.length) frame[at] = value;
  return frame;
}

t.test('whatever frames come, both ways deliver the same datagrams, drop the same, count the same and answer the same', (t) => {
  const [twin, longTwin] = [new Twin(false), new Twin(true)];
  let [frames, delivered] = [0, 0];
  fc.assert(fc.property(fc.array(plan, { minLength: 1, maxLength: 12 }), (plans) => {
    const sent = plans.map(build);
    const [a, b] = [twin.take(sent), longTwin.take(sent)];
    frames += sent.length;
    delivered += a.delivered.length;
    const differing = Object.keys(a.counters).filter((name) => a.counters[name] !== b.counters[name]);
    for (const [what, left, right] of [['delivered', a.delivered, b.delivered], ['sent', a.sent, b.sent]] as const) {
      if (JSON.stringify(left) !== JSON.stringify(right)) throw new Error(`${what}: the short way ${JSON.stringify(left)}, the long way ${JSON.stringify(right)}`);
    }
    if (differing.length > 0) throw new Error(`counters differ: ${differing.map((n) => `${n} ${a.counters[n]} ${b.counters[n]}`).join(', ')}`);
  }), { numRuns: 1500 });
  t.ok(shortcuts > 400, `${shortcuts} of ${frames} frames went the short way`);
  t.ok(delivered > shortcuts, `${delivered} datagrams were delivered, some of them on the long way of both`);
  t.equal(twin.lab.missing() + longTwin.lab.missing(), 0, 'no buffer is missing');
  twin.lab.close();
  longTwin.lab.close();
  t.end();
});
