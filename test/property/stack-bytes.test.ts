// Any bytes as frames into a running host or router: it throws nothing, loses no buffer, sends nothing malformed, and answers a
// ping afterwards. FUZZ_SECONDS=60 lets it run for so long with a seed of the time's; what fails prints seed and path.
import fc from 'fast-check';
import t from 'tap';
import { AdvertisementFlag, buildNdOptions, buildRouterAdvertisement } from '../../src/stack/wire/ndp.js';
import { EtherType } from '../../src/stack/wire/ethernet.js';
import { Lab, PEER4, PEER6, PEERL, PEER_MAC, SECOND_US, US, US4, US6, USL, US_MAC, arpFrame, ethernet, icmpFrame, ip, ip4, ip6, neighbourFrame, patterned, udpFrame, udpSegment } from '../stack/rig.js';

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 0);
t.setTimeout((seconds + 120) * 1000);
const { Solicited, Override } = AdvertisementFlag;

/** Real frames: what the mutated ones begin as. Each gets deep into another part. */
const quoted4 = ip4(17, udpSegment(US4, PEER4, 5000, 4000, patterned(1, 20)), { source: US4, destination: PEER4 });
const quoted6 = ip6(17, udpSegment(US6, PEER6, 5000, 4000, patterned(1, 20)), { source: US6, destination: PEER6 });
const ra = buildRouterAdvertisement({
  hopLimit: 64, lifetimeS: 30, reachableMs: 1000, retransMs: 500,
  options: { sourceMac: PEER_MAC, mtu: 1400, prefixes: [{ prefix: ip('fd77::'), length: 64, onLink: true, autonomous: true, validS: 100, preferredS: 50 }] },
});
const part = (first: boolean): Uint8Array[] => [
  ethernet(EtherType.Ipv4, ip4(17, patterned(1, 24), first ? { moreFragments: true } : { fragmentOffset: 24 })),
  ethernet(EtherType.Ipv6, ip6(44, Uint8Array.from([17, 0, 0, first ? 1 : 24, 0, 0, 0, 5, ...patterned(1, 24)]))),
];
const REAL: readonly Uint8Array[] = [
  udpFrame(), udpFrame({ port: 5001 }), udpFrame({ source: PEER6, destination: US6 }), udpFrame({ source: PEERL, destination: USL, port: 6000 }),
  udpFrame({ destination: '198.18.0.255', to: 0xffffffffffff }), udpFrame({ source: PEER6, destination: 'ff02::1', to: 0x333300000001 }),
  udpFrame({ destination: '198.19.0.9' }), udpFrame({ source: PEER6, destination: 'fd01::9', payload: patterned(1, 1300) }), udpFrame({ destination: '198.19.0.9', payload: patterned(1, 1400) }),
  icmpFrame(8, 0, 1, patterned(1, 60)), icmpFrame(128, 0, 1, patterned(1, 60), { source: PEER6 }),
  ...[0, 1, 2, 3, 4].map((code) => icmpFrame(3, code, 1400, quoted4)), icmpFrame(11, 0, 0, quoted4), icmpFrame(12, 0, 0, quoted4),
  ...[1, 2, 3, 4].map((type) => icmpFrame(type, 0, 1280, quoted6, { source: PEER6 })),
  arpFrame(1), arpFrame(2), arpFrame(1, { sender: '0.0.0.0' }), arpFrame(1, { sender: US4 }), arpFrame(2, { sender: '198.18.0.3', senderMac: 0x02000000000c }),
  neighbourFrame(135, US6, { options: { sourceMac: PEER_MAC } }), neighbourFrame(135, 'fd77::ff:fe00:a', { source: '::', destination: 'ff02::1:ff00:a', to: 0x3333ff00000a }),
  neighbourFrame(136, PEER6, { flags: Solicited + Override, options: { targetMac: PEER_MAC } }),
  icmpFrame(134, 0, ra.rest, ra.body, { source: PEERL, destination: 'ff02::1', hopLimit: 255, to: 0x333300000001 }),
  icmpFrame(133, 0, 0, buildNdOptions({ sourceMac: PEER_MAC, prefixes: [] }), { source: PEERL, destination: 'ff02::2', hopLimit: 255, to: 0x333300000002 }),
  ethernet(EtherType.Ipv4, ip4(17, udpSegment(PEER4, US4, 4000, 5000, patterned(1, 8)), { options: Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0, 148, 4, 0, 0) })),
  ethernet(EtherType.Ipv6, ip6(0, Uint8Array.from([60, 0, 5, 2, 0, 0, 1, 0, 43, 0, 1, 4, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 9, ...udpSegment(PEER6, US6, 4000, 5000, patterned(1, 8))]))),
  ...part(true), ...part(false),
];

/** Puts the IPv4 header's checksum in order, so that a change is seen by more than the checksum. */
function mend(frame: Uint8Array): Uint8Array {
  const header = (frame[14] & 15) * 4;
  if (frame[12] !== 8 || frame[13] !== 0 || header < 20 || frame.length < 14 + header) return frame;
  frame.set([0, 0], 24);
  let sum = 0;
  for (let i = 14; i < 14 + header; i += 2) sum += (frame[i] << 8) | frame[i + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.set([(~sum >>> 8) & 255, ~sum & 255], 24);
  return frame;
}

const byte = fc.integer({ min: 0, max: 255 });
const change = fc.tuple(fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 12, max: 60 }) }, fc.nat(1500)), fc.oneof(byte, fc.constantFrom(0, 1, 4, 5, 6, 255)));
const frame = fc.oneof(
  { weight: 1, arbitrary: fc.uint8Array({ minLength: 14, maxLength: 200 }) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom(EtherType.Ipv4, EtherType.Ipv6, EtherType.Arp, 0x88b5), fc.uint8Array({ maxLength: 120 })).map(([type, bytes]) => ethernet(type, bytes, US_MAC)) },
  { weight: 2, arbitrary: fc.constantFrom(...REAL) },
  {
    weight: 6,
    arbitrary: fc.tuple(fc.constantFrom(...REAL), fc.array(change, { maxLength: 4 }), fc.option(fc.nat(), { freq: 3 }), fc.boolean()).map(([real, changes, cut, mended]) => {
      const changed = real.slice(0, cut === null ? real.length : 14 + (cut % (real.length - 13)));
      for (const [at, value] of changes) if (at < changed.length) changed[at] = value;
      return mended ? mend(changed) : changed;
    }),
  },
);
const step = fc.record({ frame, waitUs: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(1000, SECOND_US, 61 * SECOND_US) }), send: fc.option(fc.constantFrom(PEER4, PEER6, '198.18.0.9', 'fd77::9', US4, 'ff02::1'), { freq: 8 }) });

for (const forwarding of [false, true]) {
  t.test(`${forwarding ? 'a router' : 'a host'} outlives any frames`, { timeout: (seconds + 60) * 1000 }, (t) => {
    let frames = 0;
    const property = fc.property(fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }), (steps) => {
      const lab = new Lab({
        forwarding, settleUs: 3 * SECOND_US,
        interfaces: [{ addresses: [`${US4}/24`, `${US6}/64`], nic: { mac: US, regionBytes: 2 ** 22 } }, ...(forwarding ? [{ addresses: ['198.19.0.1/24', 'fd01::1/64'], nic: { mtu: 1300, regionBytes: 2 ** 22 } }] : [])],
        peerNic: { regionBytes: 2 ** 24 },
      });
      const echo = lab.host.openUdp({ port: 5000, onDatagrams: (batch, socket) => {
        for (let i = batch.from; i < batch.to; i++) if (batch.sourcePort(i) !== 0) socket.reply(batch, i);
      } });
      lab.host.openUdp({ port: 5001 });
      for (const { frame, waitUs, send } of steps) {
        lab.send(frame).advance(waitUs);
        if (send !== null) echo.send(patterned(1, 2000), 4000, send);
        frames++;
      }
      lab.advance(200 * SECOND_US);
      const lines = [icmpFrame(8, 0, 1, patterned(1, 20)), icmpFrame(128, 0, 1, patterned(1, 20), { source: PEER6 })].flatMap((ping) => {
        lab.take();
        return lab.send(ping).advance(SECOND_US).lines();
      });
      const missing = lab.missing();
      const waiting = lab.stack.ip.reassembly.size;
      lab.close();
      if (missing !== 0) throw new Error(`${missing} buffers are missing`);
      if (waiting !== 0) throw new Error(`${waiting} datagrams still wait for fragments`);
      for (const reply of [`icmp4 0/0 ${US4} > ${PEER4}`, `icmp6 129/0 ${US6} > ${PEER6}`]) if (!lines.includes(reply)) throw new Error(`no ${reply}, but ${lines.join('; ')}`);
    });
    fc.assert(property, seconds > 0 ? { numRuns: 1e9, interruptAfterTimeLimit: (seconds * 1000) / 2 } : { numRuns: 60 });
    t.comment(`${frames} frames`);
    t.ok(frames > 0);
    t.end();
  });
}
