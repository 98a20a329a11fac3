// The stack's rules one by one, each named by the clause that it comes from. docs/rfc-clauses.md lists them.
import { type Address, Prefix } from '../../src/base/index.js';
import t, { type Test as Tap } from 'tap';
import { type UdpSocket } from '../../src/stack/index.js';
import { ArpOperation } from '../../src/stack/wire/arp.js';
import { EtherType } from '../../src/stack/wire/ethernet.js';
import { Icmpv6Type } from '../../src/stack/wire/icmp.js';
import { parseIpv4 } from '../../src/stack/wire/ipv4.js';
import { AdvertisementFlag, buildRouterAdvertisement, type PrefixInformation } from '../../src/stack/wire/ndp.js';
import {
  type Seen, Lab, PEER4, PEER6, PEERL, PEER_MAC, SECOND_US, US, US4, US6, USL, US_MAC, type LabOptions, arpFrame, bytesOf, ethernet, hexOf, icmpFrame, ip, ip4, ip6, neighbourFrame, patterned, udpFrame, udpSegment,
} from './rig.js';

const { Solicited, Override, Router } = AdvertisementFlag;
const NS = Icmpv6Type.NeighbourSolicitation;
const NA = Icmpv6Type.NeighbourAdvertisement;
const EMPTY = new Uint8Array(0);
const BROADCAST = 0xffffffffffff;
const THIRD_MAC = 0x02000000000c;
const THIRD4 = '198.18.0.3';

/** Runs a test in a lab of its own; afterwards no buffer may be missing. */
function lab(name: string, options: LabOptions, body: (t: Tap, lab: Lab) => void): void {
  t.test(name, (t) => {
    const one = new Lab(options);
    body(t, one);
    one.advance(0);
    t.equal(one.missing(), 0, 'all buffers are back');
    one.close();
    t.end();
  });
}

const fragment4 = (offset: number, more: boolean): Uint8Array => ethernet(EtherType.Ipv4, ip4(17, patterned(1, 16), { fragmentOffset: offset, moreFragments: more }));
/** Of lines, ICMP but for solicitations. */
const unreachable = (lines: readonly string[]): string[] => lines.filter((line) => line.startsWith('icmp') && !line.startsWith('icmp6 135/'));
/** The message that is no solicitation. */
const told = (lab: Lab): Seen | undefined => lab.take().find(({ icmp }) => icmp !== undefined && icmp.type !== NS);

// --- ICMP ---

lab('RFC 1122 §3.2.2.6, RFC 4443 §4.2: an echo comes back with its identifier, number and data, from the address it went to', {}, (t, lab) => {
  const data = patterned(3, 1000);
  for (const [source, destination, types] of [[PEER4, US4, [8, 0]], [PEER6, US6, [128, 129]], [PEERL, USL, [128, 129]]] as const) {
    lab.take();
    lab.send(icmpFrame(types[0], 0, 0x12345678, data, { source, destination }));
    const [reply] = lab.take().filter(({ icmp }) => icmp?.type === types[1]);
    t.equal(reply.text, `icmp${source.includes(':') ? 6 : 4} ${types[1]}/0 ${destination} > ${source}`);
    t.equal(reply.icmp?.rest, 0x12345678);
    t.equal(hexOf(reply.icmp?.body ?? EMPTY), hexOf(data));
  }
  t.same(lab.ask(icmpFrame(13, 0, 0, EMPTY)).concat(lab.ask(icmpFrame(200, 0, 0, EMPTY, { source: PEER6 }))), [], 'RFC 1122 §3.2.2: unknown types are passed over in silence');
});

lab('RFC 1122 §3.2.2, RFC 4443 §2.4 e: no error about an error, a group, a later fragment, or to what is not one host', {}, (t, lab) => {
  const closed = { port: 6000 };
  t.same(unreachable(lab.ask(udpFrame(closed))), [`icmp4 3/3 ${US4} > ${PEER4}`], 'one about a plain datagram');
  t.same(unreachable(lab.ask(udpFrame({ ...closed, source: PEER6, destination: US6 }))), [`icmp6 1/4 ${US6} > ${PEER6}`]);
  const quote = ip4(99, patterned(1, 40), { source: US4, destination: PEER4 });
  const silent: [string, Uint8Array][] = [
    ['to a broadcast address', udpFrame({ ...closed, destination: '255.255.255.255', to: BROADCAST })],
    ['to the subnet’s broadcast address', udpFrame({ ...closed, destination: '198.18.0.255', to: BROADCAST })],
    ['to us, in a frame to all', udpFrame({ ...closed, to: BROADCAST })],
    ['to all nodes', udpFrame({ ...closed, source: PEER6, destination: 'ff02::1', to: 0x333300000001 })],
    ['from nobody', udpFrame({ ...closed, source: '0.0.0.0' })],
    ['from nobody, IPv6', udpFrame({ ...closed, source: '::', destination: US6 })],
    ['from a group', udpFrame({ ...closed, source: '224.0.0.5' })],
    ['from a group, IPv6', udpFrame({ ...closed, source: 'ff02::5', destination: US6 })],
    ['from all', udpFrame({ ...closed, source: '255.255.255.255' })],
    ['from the subnet’s broadcast address', udpFrame({ ...closed, source: '198.18.0.255' })],
    ['from a loopback address', udpFrame({ ...closed, source: '127.0.0.1' })],
    ['from a class E address', udpFrame({ ...closed, source: '240.0.0.1' })],
    ['from ourselves ("land")', udpFrame({ ...closed, source: US4 })],
    ['from ourselves, IPv6', udpFrame({ ...closed, source: US6, destination: US6 })],
    ['a later fragment of an unknown protocol', ethernet(EtherType.Ipv4, ip4(99, patterned(1, 16), { fragmentOffset: 8 }))],
    ['an error about an unknown protocol', icmpFrame(3, 2, 0, quote)],
    ['a malformed error', icmpFrame(3, 3, 0, EMPTY)],
    ['an unknown error of ICMPv6', icmpFrame(77, 0, 0, EMPTY, { source: PEER6 })],
  ];
  for (const [what, frame] of silent) t.same(unreachable(lab.ask(frame)), [], what);
  t.same(lab.ask(udpFrame({ ...closed, source: '2001:db8::9', destination: '::1' })), [], 'RFC 4291 §2.5.3: nothing comes to the loopback address from outside');
});

lab('RFC 1122 §3.2.2.6: an echo to a group is not answered ("smurf")', {}, (t, lab) => {
  t.same(lab.ask(icmpFrame(8, 0, 1, EMPTY, { destination: '198.18.0.255', to: BROADCAST })), []);
  t.same(lab.ask(icmpFrame(8, 0, 1, EMPTY, { destination: '255.255.255.255', to: BROADCAST })), []);
  t.same(lab.ask(icmpFrame(128, 0, 1, EMPTY, { source: PEER6, destination: 'ff02::1', to: 0x333300000001 })), []);
  t.equal(lab.stack.icmp.counters.groupEchoes, 3);
});

lab('RFC 1812 §4.3.2.8, RFC 4443 §2.4 f: errors are limited in rate', { icmpLimit: { perSecond: 10, burst: 5 } }, (t, lab) => {
  const storm = Array.from({ length: 40 }, () => udpFrame({ port: 6000 }));
  lab.send(udpFrame({ port: 6000 }));
  lab.advance(SECOND_US);
  t.equal(unreachable(lab.ask(storm)).length, 5);
  lab.advance(300_000);
  t.equal(unreachable(lab.ask(storm)).length, 3);
  t.equal(lab.stack.icmp.counters.errorsLimited, 35 + 37);
  lab.advance(SECOND_US);
  t.equal(lab.ask(Array.from({ length: 40 }, () => icmpFrame(8, 0, 1, EMPTY))).length, 40, 'echoes are not errors');
});

lab('RFC 1812 §4.3.2.3, RFC 4443 §2.4 c: as much is quoted as fits 576 bytes, or the least MTU of IPv6', {}, (t, lab) => {
  for (const [source, destination, most] of [[PEER4, US4, 576], [PEER6, US6, 1280]] as const) {
    for (const length of [0, 8, 400, 1400]) {
      const frame = udpFrame({ source, destination, port: 6000, payload: patterned(1, length) });
      lab.send(frame);
      const quoted = lab.take().find(({ icmp }) => icmp !== undefined && [1, 3].includes(icmp.type));
      t.equal(hexOf(quoted?.icmp?.body ?? EMPTY), hexOf(frame.subarray(14, Math.min(frame.length, 14 + most - (most === 576 ? 28 : 48)))), `${length} bytes from ${source}`);
      t.ok((quoted?.packet.length ?? 9999) <= most);
    }
  }
});

lab('RFC 1122 §3.2.2.1, RFC 8200 §4: an unknown protocol is reported, in IPv6 with a pointer to the field', {}, (t, lab) => {
  t.same(unreachable(lab.ask(ethernet(EtherType.Ipv4, ip4(99, patterned(1, 8))))), [`icmp4 3/2 ${US4} > ${PEER4}`]);
  const pointed = (next: number, hex: string, destination = US6, to = US_MAC): unknown => {
    lab.send(ethernet(EtherType.Ipv6, ip6(next, bytesOf(hex), { destination }), to));
    return lab.take().filter(({ icmp }) => icmp?.type === 4).map(({ icmp }) => [icmp?.code, icmp?.rest]);
  };
  t.same(pointed(99, '00'), [[1, 6]], 'the field of the IPv6 header');
  t.same(pointed(60, '6300010400000000'), [[1, 40]], 'that of an extension header');
  t.same(pointed(60, '3b009e0400000000'), [[2, 42]], 'RFC 8200 §4.2: option type 10…');
  t.same(pointed(60, '3b009e0400000000', 'ff02::1', 0x333300000001), [[2, 42]], '… also to a group');
  t.same(pointed(60, '3b00de0400000000', 'ff02::1', 0x333300000001), [], 'type 11… to a group is not');
  t.same(pointed(60, '3b005e0400000000'), [], 'type 01…: in silence');
  t.same(pointed(43, '3b00000100000000'), [[0, 42]], 'RFC 8200 §4.4, RFC 5095: a routing header with segments left');
  t.same(pointed(44, '1100000100000007' + '0011223344'), [[0, 4]], 'RFC 8200 §4.5: a fragment that is not the last, and no multiple of 8');
  t.same(pointed(44, '1100fff800000007' + '00'.repeat(16)), [[0, 42]], 'RFC 8200 §4.5: one that reaches beyond 65,535');
});

lab('RFC 1122 §3.2.2, RFC 5927 §4: an error reaches the socket that sent what it quotes, and no other', {}, (t, lab) => {
  const errors: string[] = [];
  lab.host.openUdp({ port: 5000, onError: (kind, address, port) => errors.push(`${kind} ${address.toString()} ${port}`) });
  const quoting = (type: number, code: number, source: string, destination: string, from = 5000, rest = 0): Uint8Array => {
    const v6 = source.includes(':');
    const segment = udpSegment(source, destination, from, 4000, EMPTY);
    return icmpFrame(type, code, rest, v6 ? ip6(17, segment, { source, destination }) : ip4(17, segment, { source, destination }), { source: v6 ? PEER6 : PEER4 });
  };
  lab.send([
    quoting(3, 3, US4, PEER4), quoting(3, 1, US4, PEER4), quoting(11, 0, US4, PEER4), quoting(12, 0, US4, PEER4),
    quoting(1, 4, US6, PEER6), quoting(1, 0, US6, PEER6), quoting(3, 0, US6, PEER6), quoting(4, 1, US6, PEER6), quoting(77, 0, US6, PEER6),
  ]);
  t.same(errors.splice(0), [
    `portUnreachable ${PEER4} 4000`, `unreachable ${PEER4} 4000`, `timeExceeded ${PEER4} 4000`, `parameterProblem ${PEER4} 4000`,
    `portUnreachable ${PEER6} 4000`, `unreachable ${PEER6} 4000`, `timeExceeded ${PEER6} 4000`, `parameterProblem ${PEER6} 4000`,
    `unknown ${PEER6} 4000`, // RFC 4443 §2.4 a: passed on, if of a type that nobody knows
  ]);
  lab.send([quoting(3, 3, THIRD4, PEER4), quoting(3, 3, US4, PEER4, 5001), quoting(5, 1, US4, PEER4), icmpFrame(3, 3, 0, bytesOf('4500'))]);
  t.same(errors, [], 'of another host’s, of a port that nobody has, a redirect, half a header');
});

// --- ARP ---

lab('RFC 826: a request for us is answered, and its sender known; requests for others make no entry, but bring one up to date', {}, (t, lab) => {
  const { neighbours } = lab.iface;
  t.same(lab.ask(arpFrame(ArpOperation.Request, { sender: THIRD4, target: PEER4, senderMac: THIRD_MAC })), []);
  t.equal(neighbours.find(ip(THIRD4)), undefined, 'not known by a request for another');
  t.same(lab.ask(arpFrame(ArpOperation.Request)), [`arp reply ${US4} > ${PEER4}`]);
  t.match(neighbours.find(ip(PEER4)), { mac: PEER_MAC, state: 'stale' });
  lab.send(arpFrame(ArpOperation.Request, { sender: PEER4, target: THIRD4, senderMac: THIRD_MAC }));
  t.match(neighbours.find(ip(PEER4)), { mac: THIRD_MAC }, 'merged: the address has moved');
  lab.send(arpFrame(ArpOperation.Request, { sender: PEER4, target: PEER4, senderMac: PEER_MAC }));
  t.match(neighbours.find(ip(PEER4)), { mac: PEER_MAC }, 'RFC 5227 §3: an announcement does the same');
  t.same(lab.ask(arpFrame(ArpOperation.Request, { sender: THIRD4, target: THIRD4, senderMac: THIRD_MAC })), []);
  t.equal(neighbours.find(ip(THIRD4)), undefined, 'but makes no entry');
  for (const sender of ['224.0.0.1', '255.255.255.255']) lab.send(arpFrame(ArpOperation.Request, { sender }));
  t.equal(lab.stack.arp.counters.malformed, 2, 'RFC 1812 §3.3.2: no group has a station');
});

lab('RFC 5227 §2.1.1, §2.3: three probes 1 to 2 s apart, then two announcements 2 s apart; not in use before', { settleUs: 0, interfaces: [{ addresses: [`${US4}/24`], probe: true, ipv6: false, nic: { mac: US } }] }, (t, lab) => {
  lab.advance(3 * SECOND_US);
  t.equal(lab.iface.owns(ip(US4)), false);
  t.same(lab.take().map(({ text }) => text).filter((x) => !x.endsWith(`0.0.0.0 > ${US4}`)), []);
  t.same(lab.ask(icmpFrame(8, 0, 1, EMPTY)), [], 'no answer from an address that is not ours yet');
  t.same(lab.ask(arpFrame(ArpOperation.Request)), []);
  lab.advance(20 * SECOND_US);
  t.ok(lab.iface.owns(ip(US4)));
  t.match(lab.iface.addresses, [{ state: 'preferred' }]);
});

t.test('RFC 5227 §2.1.1: the times of probes and announcements', (t) => {
  for (const seed of [1, 2, 3, 4]) {
    const lab = new Lab({ seed, settleUs: 0, interfaces: [{ addresses: [`${US4}/24`], probe: true, ipv6: false, nic: { mac: US } }] });
    lab.advance(30 * SECOND_US);
    const seen = lab.take();
    t.same(seen.map(({ text }) => text), [...new Array<string>(3).fill(`arp request 0.0.0.0 > ${US4}`), ...new Array<string>(2).fill(`arp request ${US4} > ${US4}`)]);
    const gaps = seen.map(({ atUs }, i) => atUs - (i === 0 ? 0 : seen[i - 1].atUs));
    t.ok(gaps[0] <= 1e6 && gaps[1] >= 1e6 && gaps[1] <= 2e6 && gaps[2] >= 1e6 && gaps[2] <= 2e6, String(gaps));
    t.ok(Math.abs(gaps[3] - 2e6) < 2 && Math.abs(gaps[4] - 2e6) < 2, 'ANNOUNCE_WAIT and ANNOUNCE_INTERVAL');
    lab.close();
  }
  t.end();
});

t.test('RFC 5227 §2.1.1: an answer, or somebody else’s probe, says that the address is taken', (t) => {
  for (const frame of [
    arpFrame(ArpOperation.Reply, { sender: US4, target: '0.0.0.0', to: US_MAC }),
    arpFrame(ArpOperation.Request, { sender: '0.0.0.0', target: US4 }),
    arpFrame(ArpOperation.Request, { sender: US4, target: US4 }),
  ]) {
    const said: string[] = [];
    const lab = new Lab({ settleUs: 1.5 * SECOND_US, onAddress: (_, own) => said.push(own.state), interfaces: [{ addresses: [`${US4}/24`], probe: true, ipv6: false, nic: { mac: US } }] });
    lab.send(frame).advance(20 * SECOND_US);
    t.same(said, ['duplicate']);
    t.same(lab.ask(icmpFrame(8, 0, 1, EMPTY)), []);
    lab.close();
  }
  t.end();
});

t.test('RFC 5227 §2.4 c: an address in use is defended, at most once in 10 s', (t) => {
  const conflicts: string[] = [];
  const lab = new Lab({ onConflict: (_, address) => conflicts.push(address.toString()) });
  const claim = arpFrame(ArpOperation.Request, { sender: US4, target: PEER4, senderMac: THIRD_MAC });
  t.same(lab.ask(claim), [`arp request ${US4} > ${US4}`]);
  t.same(lab.ask([claim, claim]), []);
  lab.advance(9 * SECOND_US);
  t.same(lab.ask(claim), []);
  lab.advance(2 * SECOND_US);
  t.same(lab.ask(claim), [`arp request ${US4} > ${US4}`]);
  t.same(conflicts, [US4, US4]);
  t.ok(lab.iface.owns(ip(US4)), 'it is kept');
  lab.close();
  t.end();
});

// --- neighbours ---

for (const [clause, to, target] of [['RFC 1122 §2.3.2.1', THIRD4, THIRD4], ['RFC 4861 §7.2.2', 'fd00::3', 'ff02::1:ff00:3']] as const) {
  const v6 = to.includes(':');
  const request = v6 ? `icmp6 135/0 ${US6} > ${target}` : `arp request ${US4} > ${to}`;
  const poll = v6 ? `icmp6 135/0 ${US6} > ${to}` : request;
  const answer = (mac = THIRD_MAC): Uint8Array =>
    v6 ? neighbourFrame(NA, to, { source: to, flags: Solicited + Override, options: { targetMac: mac } }) : arpFrame(ArpOperation.Reply, { sender: to, senderMac: mac, to: US_MAC });

  lab(`${clause}: asks three times, a second apart, keeps four frames meanwhile, and says when there is no answer (${v6 ? 'IPv6' : 'ARP'})`, {}, (t, lab) => {
    const errors: string[] = [];
    const socket = lab.host.openUdp({ onError: (kind, address) => errors.push(`${kind} ${address.toString()}`) });
    for (let i = 0; i < 7; i++) socket.send(patterned(i, 10), 4000, to);
    lab.advance(20 * SECOND_US);
    const seen = lab.take();
    t.same(seen.map(({ text }) => text), [request, request, request], 'and then no more');
    t.same(seen.map(({ atUs }) => Math.round((atUs - seen[0].atUs) / 1e6)), [0, 1, 2]);
    t.equal(lab.iface.neighbours.counters.pendingDropped, 3, 'RFC 4861 §7.2.2: the oldest make room');
    t.same(errors, new Array<string>(4).fill(`unreachable ${to}`));
    socket.send(patterned(1, 10), 4000, to);
    lab.advance(100_000).send(answer());
    lab.advance(100_000);
    t.match(lab.lines(), [request, /^udp /], 'asked again when wanted again; what waited goes out');
  });

  lab(`RFC 4861 §7.3.2: reachable, stale, delay, probe, failed, each in its time (${v6 ? 'IPv6' : 'ARP'})`, {}, (t, lab) => {
    const socket = lab.host.openUdp();
    const send = (): void => void socket.send('x', 4000, to);
    const state = (): string | undefined => lab.iface.neighbours.find(ip(to))?.state;
    send();
    t.equal(state(), 'incomplete');
    lab.send(answer());
    t.equal(state(), 'reachable');
    lab.advance(14.9 * SECOND_US);
    t.equal(state(), 'reachable', 'RFC 4861 §6.3.2: at least half of 30 s');
    lab.advance(31 * SECOND_US);
    t.equal(state(), 'stale', 'at most one and a half times that');
    lab.take();
    lab.advance(60 * SECOND_US);
    t.same(lab.lines(), [], 'a stale one is not asked for');
    send();
    lab.advance(0);
    t.equal(state(), 'delay');
    t.match(lab.lines(), [/^udp /], 'it is used as it is');
    lab.advance(4.9 * SECOND_US);
    t.same(lab.lines(), []);
    lab.advance(0.2 * SECOND_US);
    t.equal(state(), 'probe');
    const [asked] = lab.take();
    t.equal(asked.text, poll);
    t.equal(asked.to, THIRD_MAC, 'alone');
    lab.send(answer());
    t.equal(state(), 'reachable');
    lab.advance(46 * SECOND_US);
    send();
    lab.advance(5 * SECOND_US);
    lab.take();
    lab.advance(2.9 * SECOND_US);
    t.same(lab.lines(), [poll, poll]);
    t.equal(state(), 'probe');
    lab.advance(0.2 * SECOND_US);
    t.equal(state(), 'failed');
  });
}

lab('RFC 4861 §7.2.5: what the flags of an advertisement do', {}, (t, lab) => {
  const socket = lab.host.openUdp();
  const { neighbours } = lab.iface;
  const advertise = (flags: number, mac: number | undefined): unknown => {
    lab.send(neighbourFrame(NA, PEER6, { source: PEER6, flags, options: mac === undefined ? {} : { targetMac: mac } }));
    const { state, mac: now, isRouter } = neighbours.find(ip(PEER6))!;
    return [state, now, isRouter];
  };
  lab.send(neighbourFrame(NA, 'fd00::77', { source: 'fd00::77', flags: Solicited + Override, options: { targetMac: THIRD_MAC } }));
  t.equal(neighbours.find(ip('fd00::77')), undefined, 'nobody asked: no entry');
  lab.answers[0].clear();
  socket.send('x', 4000, PEER6);
  t.same(advertise(Solicited, undefined), ['incomplete', 0, false], 'no address in it');
  t.same(advertise(Solicited + Override, PEER_MAC), ['reachable', PEER_MAC, false]);
  t.same(advertise(Solicited, THIRD_MAC), ['stale', PEER_MAC, false], 'another address without override: in doubt, not replaced');
  t.same(advertise(0, THIRD_MAC), ['stale', PEER_MAC, false]);
  t.same(advertise(Override, THIRD_MAC), ['stale', THIRD_MAC, false], 'replaced');
  t.same(advertise(Solicited + Override + Router, THIRD_MAC), ['reachable', THIRD_MAC, true]);
  t.same(advertise(Solicited, undefined), ['reachable', THIRD_MAC, false], 'no option: the address stands');
});

lab('RFC 4861 §7.1, §6.1: messages that are not of this link, or not whole, are dropped', {}, (t, lab) => {
  const { counters } = lab.stack.nd;
  const sourceMac = PEER_MAC;
  t.same(lab.ask(neighbourFrame(NS, US6, { destination: 'ff02::1:ff00:1', to: 0x3333ff000001, options: { sourceMac } })), [`icmp6 136/0 ${US6} > ${PEER6}`], 'a whole one is answered');
  const bad: [string, Uint8Array][] = [
    ['hop limit 254', neighbourFrame(NS, US6, { hopLimit: 254 })],
    ['a code', icmpFrame(NS, 1, 0, bytesOf(`fd00${'00'.repeat(13)}01`), { source: PEER6, hopLimit: 255 })],
    ['too short', icmpFrame(NS, 0, 0, bytesOf('fd00'), { source: PEER6, hopLimit: 255 })],
    ['a group as target', neighbourFrame(NS, 'ff02::1')],
    ['an option without length', icmpFrame(NS, 0, 0, bytesOf(`fd00${'00'.repeat(13)}01` + '0100020000000000'), { source: PEER6, hopLimit: 255 })],
    ['a probe that is not to the solicited-node group', neighbourFrame(NS, US6, { source: '::' })],
    ['a probe with a source address option', neighbourFrame(NS, US6, { source: '::', destination: 'ff02::1:ff00:1', to: 0x3333ff000001, options: { sourceMac } })],
    ['an advertisement to a group, solicited', neighbourFrame(NA, PEER6, { destination: 'ff02::1', to: 0x333300000001, flags: Solicited })],
    ['a router’s from a global address', advertisement({ source: PEER6 })],
    ['a router’s with hop limit 64', advertisement({ hopLimit: 64 })],
  ];
  for (const [what, frame] of bad) {
    const before = counters.malformed;
    t.same(lab.ask(frame), [], what);
    t.equal(counters.malformed, before + 1);
  }
  t.equal(lab.stack.routes.list().some(({ prefix }) => prefix.length === 0), false, 'no router was believed');
});

// --- addresses (RFC 4862) ---

t.test('RFC 4862 §5.4: an address is tentative for a second, and not used; one that somebody has is never', (t) => {
  const solicitation = neighbourFrame(NS, US6, { source: '::', destination: 'ff02::1:ff00:1', to: 0x3333ff000001 });
  const taken = neighbourFrame(NA, US6, { source: US6, destination: 'ff02::1', to: 0x333300000001, flags: Override, options: { targetMac: THIRD_MAC } });
  for (const [what, frames, state] of [['nobody says a word', [], 'preferred'], ['another one probes too (§5.4.3)', [solicitation], 'duplicate'], ['somebody has it (§5.4.4)', [taken], 'duplicate']] as const) {
    const lab = new Lab({ settleUs: 500_000 });
    const own = lab.iface.addresses.find(({ address }) => address.equals(ip(US6)));
    t.equal(own?.state, 'tentative');
    t.same(lab.ask(neighbourFrame(NS, US6, { destination: 'ff02::1:ff00:1', to: 0x3333ff000001, options: { sourceMac: PEER_MAC } })), [], 'no answer while tentative');
    t.same(lab.ask(icmpFrame(128, 0, 1, EMPTY, { source: PEER6 })), []);
    lab.send([...frames]).advance(5 * SECOND_US);
    t.equal(own?.state, state, what);
    t.equal(unreachable(lab.ask(icmpFrame(128, 0, 1, EMPTY, { source: PEER6 }))).some((x) => x.startsWith('icmp6 129')), state === 'preferred');
    lab.close();
  }
  const lab = new Lab({ settleUs: 0 });
  lab.advance(900_000);
  const probes = lab.take().filter(({ icmp }) => icmp?.type === NS);
  t.same(probes.map(({ text }) => text).sort(), [`icmp6 135/0 :: > ff02::1:ff00:1`, `icmp6 135/0 :: > ff02::1:ff00:a`], '§5.4.2: one solicitation each, from the unspecified address');
  t.ok(probes.every(({ v6 }) => v6?.hopLimit === 255));
  lab.close();
  const none = new Lab({ settleUs: 0, interfaces: [{ addresses: [`${US6}/64`], dadTransmits: 0, nic: { mac: US } }] });
  none.advance(1);
  t.ok(none.iface.owns(ip(US6)), '§5.1: DupAddrDetectTransmits 0 turns it off');
  none.close();
  t.end();
});

interface Advertised {
  source?: string;
  hopLimit?: number;
  lifetimeS?: number;
  current?: number;
  reachableMs?: number;
  prefixes?: readonly Partial<Omit<PrefixInformation, 'prefix'>>[];
  prefix?: string;
}

function advertisement({ source = PEERL, hopLimit = 255, lifetimeS = 1800, current = 0, reachableMs = 0, prefixes = [], prefix = 'fd77::' }: Advertised = {}): Uint8Array {
  const options = { sourceMac: PEER_MAC, prefixes: prefixes.map((p) => ({ prefix: ip(prefix), length: 64, onLink: true, autonomous: true, validS: 10_000, preferredS: 5000, ...p })) };
  const { rest, body } = buildRouterAdvertisement({ hopLimit: current, lifetimeS, reachableMs, retransMs: 0, options });
  return icmpFrame(Icmpv6Type.RouterAdvertisement, 0, rest, body, { source, destination: 'ff02::1', hopLimit, to: 0x333300000001 });
}
const SLAAC = 'fd77::ff:fe00:a';
const has = (lab: Lab, text: string): boolean => lab.iface.addresses.some(({ address, state }) => address.equals(ip(text)) && state === 'preferred');
const routed = (lab: Lab, text: string): string | undefined => {
  const route = lab.stack.routes.find(ip(text));
  return route === undefined ? undefined : (route.gateway?.toString() ?? 'on link');
};

t.test('RFC 4861 §6.3.7: a host asks for routers three times, 4 s apart, until one answers', (t) => {
  for (const answered of [false, true]) {
    const lab = new Lab({ settleUs: 0 });
    lab.advance(2 * SECOND_US);
    if (answered) lab.send(advertisement());
    lab.advance(30 * SECOND_US);
    const asked = lab.take().filter(({ icmp }) => icmp?.type === Icmpv6Type.RouterSolicitation);
    t.equal(asked.length, answered ? 1 : 3);
    t.ok(asked[0].atUs <= 1e6 && (answered || Math.abs(asked[2].atUs - asked[1].atUs - 4e6) < 2));
    t.ok(asked.every(({ v6, to }) => v6?.hopLimit === 255 && v6.destination.toString() === 'ff02::2' && to === 0x333300000002));
    lab.close();
  }
  t.end();
});

lab('RFC 4861 §6.3.4: what a router advertises is taken, and forgotten in its time', {}, (t, lab) => {
  lab.send(advertisement({ lifetimeS: 100, current: 33, reachableMs: 5000, prefixes: [{ validS: 9000 }] }));
  t.equal(routed(lab, '2001:db8::1'), PEERL);
  t.equal(routed(lab, 'fd77::1234'), 'on link');
  t.equal(lab.iface.neighbours.options.reachableTimeUs, 5e6);
  lab.advance(2 * SECOND_US);
  lab.take();
  lab.host.openUdp().send('x', 4000, '2001:db8::1');
  lab.advance(10_000);
  const sent = lab.take().find(({ udp }) => udp !== undefined);
  t.equal(sent?.to, PEER_MAC);
  lab.advance(99 * SECOND_US);
  t.equal(routed(lab, '2001:db8::1'), undefined, 'the router’s lifetime is over');
  lab.send(advertisement({ lifetimeS: 100 }));
  t.equal(routed(lab, '2001:db8::1'), PEERL);
  lab.send(advertisement({ lifetimeS: 0 }));
  t.equal(routed(lab, '2001:db8::1'), undefined, '0: no router any more');
  lab.send(advertisement({ lifetimeS: 100 }));
  lab.send(neighbourFrame(NA, PEERL, { source: PEERL, destination: USL, flags: Router + Solicited + Override, options: { targetMac: PEER_MAC } }));
  t.equal(routed(lab, '2001:db8::1'), PEERL);
  lab.send(neighbourFrame(NA, PEERL, { source: PEERL, destination: USL, flags: Solicited + Override, options: { targetMac: PEER_MAC } }));
  t.equal(routed(lab, '2001:db8::1'), undefined, '§7.2.5: who says that it is none is none');
  lab.advance(9000 * SECOND_US);
  t.equal(routed(lab, 'fd77::1234'), undefined, 'the prefix is not on the link for ever');
  lab.send([advertisement({ prefix: 'fe80::', prefixes: [{}] }), advertisement({ prefix: 'fd88::', prefixes: [{ onLink: false, autonomous: false }] })]);
  t.equal(lab.stack.routes.list().filter(({ prefix }) => prefix.toString() === 'fd88::/64').length, 0, 'without the L flag nothing is said of the link');
});

lab('RFC 4862 §5.5.3: addresses from prefixes, checked, and gone when their time is over', {}, (t, lab) => {
  lab.send(advertisement({ prefixes: [{ validS: 8000, preferredS: 100 }] }));
  t.equal(has(lab, SLAAC), false, '§5.4: duplicate address detection first');
  lab.advance(2 * SECOND_US);
  t.ok(has(lab, SLAAC));
  t.match(lab.ask(icmpFrame(128, 0, 1, EMPTY, { source: PEER6, destination: SLAAC })), [/icmp6 129|icmp6 135/]);
  lab.send(advertisement({ prefixes: [{ validS: 10, preferredS: 10 }] }));
  lab.advance(7000 * SECOND_US);
  t.ok(has(lab, SLAAC), 'e 3: nobody can cut it below two hours');
  lab.advance(201 * SECOND_US);
  t.equal(has(lab, SLAAC), false);
  for (const [what, options] of [
    ['preferred beyond valid (c)', { prefixes: [{ validS: 10, preferredS: 20 }] }], ['no A flag (a)', { prefixes: [{ autonomous: false }] }], ['valid for 0 s (d)', { prefixes: [{ validS: 0, preferredS: 0 }] }],
    ['another length than 64 (d)', { prefixes: [{ length: 65 }] }], ['the link-local prefix (b)', { prefix: 'fe80::', prefixes: [{}] }],
  ] as const) {
    const count = lab.iface.addresses.length;
    lab.send(advertisement(options)).advance(2 * SECOND_US);
    t.equal(lab.iface.addresses.length, count, what);
  }
  lab.send(advertisement({ prefixes: [{ validS: Infinity, preferredS: Infinity }] })).advance(1e6 * SECOND_US);
  t.ok(has(lab, SLAAC), 'for ever is for ever');
});

// --- path MTU ---

for (const [clause, us, peer, small] of [['RFC 1191 §6.3', US4, PEER4, 600], ['RFC 8201 §4', US6, PEER6, 1300]] as const) {
  const v6 = us === US6;
  lab(`${clause}: a path’s MTU is learnt, never raised by a message, bounded below, and forgotten after ten minutes`, {}, (t, lab) => {
    const socket = lab.host.openUdp({ port: 5000 });
    const largest = (): number => {
      socket.send(patterned(1, 1400), 4000, peer);
      lab.advance(10_000);
      return Math.max(...lab.take().filter(({ arp, icmp }) => arp === undefined && icmp === undefined).map(({ packet }) => packet.length));
    };
    const tooBig = (mtu: number, { source = us, port = 5000 }: { source?: string; port?: number } = {}): void => {
      const segment = udpSegment(source, peer, port, 4000, patterned(1, 100));
      const quote = v6 ? ip6(17, segment, { source, destination: peer }) : ip4(17, segment, { source, destination: peer });
      lab.send(icmpFrame(v6 ? 2 : 3, v6 ? 0 : 4, mtu, quote, { source: peer }));
    };
    const whole = v6 ? 1448 : 1428;
    t.equal(largest(), whole);
    tooBig(small, { port: 5999 });
    t.equal(largest(), whole, 'about what we never sent');
    tooBig(small, { source: v6 ? 'fd00::5' : '198.18.0.5' });
    t.equal(largest(), whole, 'about what another sent');
    tooBig(small);
    const learnt = largest();
    t.ok(learnt <= small && learnt > small - 8, `${learnt}`);
    tooBig(1400);
    t.equal(largest(), learnt, 'a later, larger one changes nothing');
    tooBig(20);
    const least = largest();
    if (v6) t.ok(least <= 1280 && least > 1270, `RFC 8201 §4: never below 1280: ${least}`);
    else t.ok(least <= 68 && least > 40, `never below 68: ${least}`);
    lab.advance(598 * SECOND_US);
    t.equal(largest(), least, 'nearly ten minutes later');
    lab.advance(5 * SECOND_US);
    t.equal(largest(), whole, 'ten minutes later');
  });
}

lab('RFC 791 §3.2, RFC 8200 §4.5: what does not fit goes in fragments, of multiples of 8, under one identification', {}, (t, lab) => {
  const socket = lab.host.openUdp({ port: 5000 });
  const data = patterned(1, 4000);
  for (const peer of [PEER4, PEER6]) {
    socket.send('first', 4000, peer);
    lab.advance(10_000);
    lab.take();
    socket.send(data, 4000, peer);
    lab.advance(10_000);
    const parts = lab.take();
    t.same(parts.map(({ text }) => text.split(' ').slice(0, 3).join(' ')), peer === PEER4
      ? ['fragment 0+1480 more', 'fragment 1480+1480 more', `fragment 2960+1048 ${US4}`]
      : ['fragment 0+1448 more', 'fragment 1448+1448 more', `fragment 2896+1112 ${US6}`]);
    t.ok(parts.every(({ packet }) => packet.length <= 1500));
    if (peer === PEER4) t.equal(new Set(parts.map(({ v4 }) => v4?.id)).size, 1);
    if (peer === PEER4) t.ok(parts.every(({ v4 }) => v4?.dontFragment === false));
  }
  socket.send('x', 4000, PEER4);
  lab.advance(10_000);
  t.equal(lab.take()[0].v4?.dontFragment, true, 'RFC 1191 §3: what fits says that it must not be fragmented');
});

lab('RFC 1122 §3.3.2, RFC 8200 §4.5: a datagram that lacks a fragment for 60 s is reported, if its first one came', {}, (t, lab) => {
  lab.send([fragment4(0, true), ethernet(EtherType.Ipv6, ip6(44, Uint8Array.from([17, 0, 0, 1, 0, 0, 0, 5, ...patterned(1, 16)])))]);
  lab.send(ethernet(EtherType.Ipv4, ip4(17, patterned(1, 16), { fragmentOffset: 8, moreFragments: true, id: 99 })));
  lab.advance(59 * SECOND_US);
  t.same(unreachable(lab.lines()), []);
  lab.advance(2 * SECOND_US);
  t.same(unreachable(lab.lines()).sort(), [`icmp4 11/1 ${US4} > ${PEER4}`, `icmp6 3/1 ${US6} > ${PEER6}`]);
});

lab('RFC 6946 §4: an atomic fragment is whole by itself, whatever else is under way', {}, (t, lab) => {
  const got: string[] = [];
  lab.host.openUdp({ port: 5000, onDatagrams: (batch) => got.push(hexOf(batch.payload(batch.from))) });
  const segment = udpSegment(PEER6, US6, 4000, 5000, patterned(1, 16));
  const piece = (offset: number, more: boolean, data: Uint8Array): Uint8Array => ethernet(EtherType.Ipv6, ip6(44, Uint8Array.from([17, 0, offset >>> 8, offset | (more ? 1 : 0), 0, 0, 0, 5, ...data])));
  lab.send([piece(0, true, segment.subarray(0, 8)), piece(0, false, segment)]);
  t.equal(got.length, 1, 'at once');
  lab.send(piece(8, false, segment.subarray(8)));
  t.same(got, [hexOf(patterned(1, 16)), hexOf(patterned(1, 16))], 'and the other one is put together none the less');
});

// --- routers ---

const FAR4 = '198.19.0.9';
const FAR6 = 'fd01::9';
const ROUTER: LabOptions = {
  forwarding: true,
  interfaces: [{ addresses: [`${US4}/24`, `${US6}/64`], nic: { mac: US } }, { addresses: ['198.19.0.1/24', 'fd01::1/64'], nic: { mac: '02:00:00:00:00:1a', mtu: 1300 } }],
  answers: [[PEER4, PEER6, PEERL], [FAR4, FAR6]],
};
const transit = (o: Parameters<typeof udpFrame>[0] = {}): Uint8Array => udpFrame({ source: PEER4, destination: FAR4, ...o });
const transit6 = (o: Parameters<typeof udpFrame>[0] = {}): Uint8Array => udpFrame({ source: PEER6, destination: FAR6, ...o });

lab('RFC 1812 §5.2, RFC 8200 §3: a router passes on, with one hop less and all else as it was', ROUTER, (t, lab) => {
  lab.send([transit(), transit6()]).advance(10_000);
  lab.take(1);
  for (const frame of [transit({ ttl: 2 }), transit6({ ttl: 2 }), transit({ payload: patterned(5, 1272) })]) {
    lab.send(frame);
    const [out] = lab.take(1);
    const v6 = out.v6 !== undefined;
    t.equal(out.to, PEER_MAC);
    t.equal(out.v4?.ttl ?? out.v6?.hopLimit, frame[v6 ? 21 : 22] - 1);
    const expected = frame.slice(14);
    const got = out.packet.slice();
    for (const at of v6 ? [7] : [8, 10, 11]) expected[at] = got[at] = 0;
    t.equal(hexOf(got), hexOf(expected));
  }
  t.same(unreachable(lab.lines()), [], 'in silence');
});

lab('RFC 1812 §5.3.1, RFC 4443 §3.3: where hops run out, the sender is told', ROUTER, (t, lab) => {
  for (const ttl of [0, 1]) {
    t.same(unreachable(lab.ask(transit({ ttl }))), [`icmp4 11/0 ${US4} > ${PEER4}`]);
    t.same(unreachable(lab.ask(transit6({ ttl }))), [`icmp6 3/0 ${US6} > ${PEER6}`]);
  }
  t.same(lab.take(1).filter(({ udp }) => udp !== undefined), []);
  const spent: [string, Uint8Array][] = [
    ['a later fragment', ethernet(EtherType.Ipv4, ip4(17, patterned(1, 16), { destination: FAR4, fragmentOffset: 8, ttl: 1 }))],
    ['an error', icmpFrame(3, 3, 0, ip4(17, patterned(1, 8)), { destination: FAR4, hopLimit: 1 })],
    ['an error of ICMPv6', icmpFrame(1, 4, 0, ip6(17, patterned(1, 8)), { source: PEER6, destination: FAR6, hopLimit: 1 })],
    ['an error behind an extension header', ethernet(EtherType.Ipv6, ip6(60, bytesOf('3a000104000000000104000000000000'), { destination: FAR6, hopLimit: 1 }))],
  ];
  for (const [what, frame] of spent) t.same(unreachable(lab.ask(frame)), [], `RFC 1122 §3.2.2, RFC 4443 §2.4 e: not about ${what}`);
  t.same(unreachable(lab.ask(icmpFrame(8, 0, 1, EMPTY, { destination: FAR4, hopLimit: 1 }))), [`icmp4 11/0 ${US4} > ${PEER4}`], 'but about an echo');
  t.same(lab.ask(udpFrame({ ttl: 0, port: 6000 })), [`icmp4 3/3 ${US4} > ${PEER4}`], 'RFC 1122 §3.2.1.7: at its destination a datagram may have none left');
});

lab('RFC 1812 §5.2.7.1, RFC 4443 §3.1: no route, or nobody there', ROUTER, (t, lab) => {
  t.same(unreachable(lab.ask(transit({ destination: '203.0.113.1' }))), [`icmp4 3/0 ${US4} > ${PEER4}`]);
  t.same(unreachable(lab.ask(transit6({ destination: '2001:db8::1' }))), [`icmp6 1/0 ${US6} > ${PEER6}`]);
  lab.send([transit({ destination: '198.19.0.77' }), transit6({ destination: 'fd01::77' })]).advance(5 * SECOND_US);
  t.same(unreachable(lab.lines()).sort(), [`icmp4 3/1 ${US4} > ${PEER4}`, `icmp6 1/3 ${US6} > ${PEER6}`]);
});

lab('RFC 791 §3.2, RFC 1191 §4, RFC 4443 §3.2: what does not fit the next link', ROUTER, (t, lab) => {
  lab.send([transit(), transit6()]).advance(10_000);
  lab.take();
  lab.take(1);
  const segment = udpSegment(PEER4, FAR4, 4000, 5000, patterned(1, 1400));
  lab.send(ethernet(EtherType.Ipv4, ip4(17, segment, { destination: FAR4, dontFragment: true })));
  const four = told(lab);
  t.equal(four?.text, `icmp4 3/4 ${US4} > ${PEER4}`);
  t.equal(four?.icmp?.rest, 1300);
  lab.send(transit6({ payload: patterned(1, 1400) }));
  const six = told(lab);
  t.equal(six?.text, `icmp6 2/0 ${US6} > ${PEER6}`);
  t.equal(six?.icmp?.rest, 1300);
  t.same(lab.lines(1), []);
  // IPv4 without DF goes on in fragments, of which only the first has the options that are not to be copied.
  lab.send(ethernet(EtherType.Ipv4, ip4(17, segment, { destination: FAR4, id: 77, options: bytesOf('0707040000000000') })));
  const parts = lab.take(1);
  t.same(parts.map(({ v4 }) => [v4?.fragmentOffset, v4?.moreFragments, v4?.id, v4?.ttl, v4?.options.length]), [[0, true, 77, 63, 8], [1272, false, 77, 63, 0]]);
  t.equal(hexOf(Buffer.concat(parts.map(({ v4 }) => v4?.payload ?? EMPTY))), hexOf(segment));
});

lab('RFC 1812 §5.3.4 to §5.3.7, RFC 4291 §2.5.6: what a router does not pass on', ROUTER, (t, lab) => {
  lab.send([transit(), transit6()]).advance(10_000);
  lab.take(1);
  const stays: [string, Uint8Array][] = [
    ['from 127.0.0.1', transit({ source: '127.0.0.1' })], ['to 127.0.0.1', transit({ destination: '127.0.0.1' })], ['from 0.0.0.0', transit({ source: '0.0.0.0' })],
    ['from class E', transit({ source: '240.0.0.1' })], ['to class E', transit({ destination: '240.0.0.1' })], ['from a group', transit({ source: '224.0.0.9' })],
    ['to a group', transit({ destination: '224.0.0.9', to: 0x01005e000009 })], ['in a frame to all', transit({ to: BROADCAST })],
    ['to 255.255.255.255', transit({ destination: '255.255.255.255' })], ['to the next subnet’s broadcast (RFC 2644)', transit({ destination: '198.19.0.255' })],
    ['from a link-local address (RFC 3927 §7)', transit({ source: '169.254.1.1' })], ['to a link-local address', transit({ destination: '169.254.1.1' })],
    ['from our own address', transit({ source: US4 })], ['from ::', transit6({ source: '::' })], ['from ::1', transit6({ source: '::1' })], ['from a link-local address, IPv6', transit6({ source: PEERL })],
    ['to a link-local address, IPv6', transit6({ destination: 'fe80::99' })], ['to ff0e::1', transit6({ destination: 'ff0e::1', to: 0x333300000001 })],
  ];
  for (const [what, frame] of stays) {
    lab.send(frame);
    t.same(lab.lines(1), [], what);
  }
});

lab('RFC 1122 §3.2.1.3, RFC 1812 §2.2.8.1: a host that is no router passes nothing on', { ...ROUTER, forwarding: false }, (t, lab) => {
  lab.send([transit(), transit6()]).advance(10_000);
  t.same([...lab.lines(), ...lab.lines(1)], [], 'and says nothing (RFC 1122 §3.2.2.1)');
  t.equal(lab.stack.ip.counters.notOurs, 2);
});

lab('RFC 1812 §5.2.4.3: the longest prefix wins, then the lower metric', { ...ROUTER, routes: [{ prefix: '0.0.0.0/0', gateway: PEER4 }, { prefix: '203.0.113.0/24', gateway: FAR4 }] }, (t, lab) => {
  const { routes } = lab.stack;
  const [first, second] = lab.host.interfaces;
  t.equal(routed(lab, '203.0.113.9'), FAR4);
  t.equal(routed(lab, '203.0.114.9'), PEER4);
  lab.stack.addRoute('203.0.113.8/30', PEER4);
  t.equal(routed(lab, '203.0.113.9'), PEER4);
  t.equal(routed(lab, '203.0.113.12'), FAR4);
  const prefix = Prefix.parse('192.0.2.0/24');
  routes.add({ prefix, interface: first, gateway: ip(PEER4), metric: 20 });
  routes.add({ prefix, interface: second, gateway: ip(FAR4), metric: 10 });
  t.equal(routed(lab, '192.0.2.1'), FAR4);
  routes.remove(prefix, second, ip(FAR4));
  t.equal(routed(lab, '192.0.2.1'), PEER4);
  lab.send(transit({ destination: '203.0.113.12' })).advance(10_000);
  t.match(lab.take(1).map(({ text, to }) => [text, to]).pop(), [`udp ${PEER4} > 203.0.113.12 4000 > 5000 4`, PEER_MAC], 'to the gateway’s station, for the destination');
  t.throws(() => lab.stack.addRoute('192.0.2.0/24', '203.0.113.1'), { code: 'ERR_INVALID_ARGUMENT' }, 'a gateway that is on no link of ours');
});

lab('RFC 1122 §3.3.4.2: a host takes what is for any of its addresses, on any interface', { ...ROUTER, forwarding: false }, (t, lab) => {
  t.same(unreachable(lab.ask(udpFrame({ destination: '198.19.0.1', port: 6000 }))), [`icmp4 3/3 198.19.0.1 > ${PEER4}`]);
  const got: string[] = [];
  lab.host.openUdp({ port: 5000, onDatagrams: (batch) => got.push(batch.destination(batch.from).toString()) });
  lab.send([udpFrame({ destination: '198.19.0.1' }), udpFrame({ source: PEER6, destination: 'fd01::1' })]);
  t.same(got, ['198.19.0.1', 'fd01::1']);
});

lab('RFC 1122 §3.2.1.8, RFC 7126 §4.3: source routes are refused, broken options reported', {}, (t, lab) => {
  const options = (hex: string): Uint8Array => ethernet(EtherType.Ipv4, ip4(1, bytesOf('0800f7fd00010001'), { options: bytesOf(hex) }));
  t.same(lab.ask(options('01010100')), [`arp request ${US4} > ${PEER4}`, `icmp4 0/0 ${US4} > ${PEER4}`], 'options that are in order');
  t.same(lab.ask(options('830704c612000100')), [`icmp4 3/5 ${US4} > ${PEER4}`]);
  lab.send(options('01440900'));
  const four = told(lab);
  t.equal(four?.text, `icmp4 12/0 ${US4} > ${PEER4}`);
  t.equal((four?.icmp?.rest ?? 0) >>> 24, 21, 'a pointer to the option');
});

t.test('RFC 4861 §6.2: a router advertises from its link-local address, some times soon and then seldom, and when asked', (t) => {
  const lab = new Lab({
    ...ROUTER, settleUs: 3 * SECOND_US,
    interfaces: [{ addresses: [`${US4}/24`, `${US6}/64`], nic: { mac: US }, advertise: { prefixes: ['fd00::/64'], mtu: 1400, intervalS: 600 } }],
  });
  const advertised = (): number[] => lab.take().filter(({ text }) => text === `icmp6 134/0 ${USL} > ff02::1`).map(({ atUs }) => atUs);
  lab.take();
  lab.advance(60 * SECOND_US);
  t.equal(advertised().length, 3, '§6.2.4: initial ones at most 16 s apart');
  lab.advance(1800 * SECOND_US);
  const seldom = advertised();
  t.ok(seldom.length >= 3 && seldom.length <= 9, `${seldom.length} in half an hour`);
  lab.send(icmpFrame(Icmpv6Type.RouterSolicitation, 0, 0, EMPTY, { source: PEERL, destination: 'ff02::2', hopLimit: 255, to: 0x333300000002 }));
  lab.advance(0.6 * SECOND_US);
  t.equal(advertised().length, 1, '§6.2.6: within half a second');
  lab.close();
  t.end();
});

// --- UDP ---

lab('RFC 768, RFC 8200 §8.1: a datagram without a checksum is taken in IPv4 and dropped in IPv6; one with a wrong one is dropped', {}, (t, lab) => {
  let got = 0;
  lab.host.openUdp({ port: 5000, onDatagrams: (batch) => (got += batch.to - batch.from) });
  const changed = (frame: Uint8Array, at: number, bytes: number[]): Uint8Array => {
    frame.set(bytes, at);
    return frame;
  };
  const v6 = (): Uint8Array => udpFrame({ source: PEER6, destination: US6 });
  lab.send([udpFrame(), v6()]);
  t.equal(got, 2);
  lab.send(changed(udpFrame(), 14 + 26, [0, 0]));
  t.equal(got, 3);
  lab.send([changed(v6(), 14 + 46, [0, 0]), changed(udpFrame(), 44, [9]), changed(v6(), 64, [9])]);
  t.equal(got, 3);
  t.equal(lab.stack.udp.counters.badChecksum, 3);
});

lab('RFC 1122 §4.1.3, RFC 8085 §5: sockets: own addresses, peers, ports, limits', {}, (t, lab) => {
  const { host } = lab;
  t.throws(() => host.openUdp({ address: PEER4 }), { code: 'ERR_INVALID_ARGUMENT' }, 'RFC 1122 §3.2.1.3: not from an address that is not ours');
  const any = host.openUdp({ port: 5000 });
  t.throws(() => host.openUdp({ port: 5000 }), { code: 'ERR_INVALID_ARGUMENT' }, 'in use');
  const ports = new Set(Array.from({ length: 200 }, () => host.openUdp().port));
  t.equal(ports.size, 200);
  t.ok([...ports].every((port) => port >= 49152), 'RFC 6335 §6');
  t.ok(Math.max(...ports) - Math.min(...ports) > 1000, 'RFC 6056 §3: not one after the other');
  any.close();
  const got: string[] = [];
  const note = (name: string) => (batch: { from: number; to: number }): void => void got.push(...new Array<string>(batch.to - batch.from).fill(name));
  const connected = host.openUdp({ port: 5000, onDatagrams: note('connected') });
  connected.connect(4000, PEER4);
  lab.send([udpFrame(), udpFrame({ sourcePort: 4001 }), udpFrame({ source: THIRD4 })]);
  t.same(got.splice(0), ['connected'], 'from its peer only');
  connected.close();
  const here = host.openUdp({ port: 5000, address: US4, onDatagrams: note('here') });
  const there = host.openUdp({ port: 5000, address: US6, onDatagrams: note('there') });
  lab.send([udpFrame(), udpFrame({ source: PEER6, destination: US6 }), udpFrame({ destination: '198.18.0.255', to: BROADCAST })]);
  t.same(got.splice(0), ['here', 'there']);
  const strangers = ['0.0.0.0', '127.0.0.1', '198.18.0.255', '255.255.255.255', '224.0.0.5', '240.0.0.1', US4].map((source) => udpFrame({ source }));
  lab.send([...strangers, ...['::1', 'ff02::5', US6, USL].map((source) => udpFrame({ source, destination: US6 }))]);
  t.same(got, [], 'RFC 1122 §4.1.3.6: not from where no host is');
  here.close();
  there.close();
  t.throws(() => host.openUdp({ family: 4 }).send('x', 1, PEER6), { code: 'ERR_INVALID_ARGUMENT' });
  t.throws(() => host.openUdp().send('x'), { code: 'ERR_INVALID_ARGUMENT' });
  t.equal(host.openUdp().send(new Uint8Array(65508), 4000, PEER4), 'tooBig');
  t.equal(host.openUdp().send('x', 4000, '203.0.113.1'), 'noRoute');
});

t.test('RFC 1122 §4.1.3.6: broadcasts and groups reach a socket that is bound to no address', (t) => {
  const lab = new Lab();
  const got: string[] = [];
  lab.host.openUdp({ port: 5000, onDatagrams: (batch) => got.push(batch.destination(batch.from).toString()) });
  lab.send([udpFrame({ destination: '255.255.255.255', to: BROADCAST }), udpFrame({ destination: '198.18.0.255', to: BROADCAST }), udpFrame({ source: PEER6, destination: 'ff02::1', to: 0x333300000001 })]);
  t.same(got, ['255.255.255.255', '198.18.0.255', 'ff02::1']);
  lab.send([udpFrame({ destination: '224.0.0.1', to: 0x01005e000001 }), udpFrame({ destination: '224.0.0.9', to: 0x01005e000009 }), udpFrame({ source: PEER6, destination: 'ff02::9', to: 0x333300000009 })]);
  t.same(got.slice(3), ['224.0.0.1'], 'RFC 1122 §3.2.1.3, §3.3.7: of groups only those that we are in');
  const socket = lab.host.openUdp();
  lab.take();
  for (const to of ['255.255.255.255', '198.18.0.255', '224.0.0.9', 'ff02::1']) socket.send('x', 4000, to);
  lab.advance(0);
  t.same(lab.take().map(({ to, v4, v6 }) => [to, v4?.ttl ?? v6?.hopLimit]), [[BROADCAST, 64], [BROADCAST, 64], [0x01005e000009, 1], [0x333300000001, 1]], 'RFC 1112 §6.1, §6.4, RFC 2464 §7: their stations, and one hop');
  lab.send(advertisement()).take();
  socket.send('x', 4000, 'ff0e::1');
  lab.advance(0);
  t.same(lab.take().map(({ to }) => to), [0x333300000001], 'RFC 4861 §5.2: a group is on the link, not behind the default router');
  lab.close();
  t.end();
});

t.test('a queue that is full counts what it drops, and gives the rest in order', async (t) => {
  const lab = new Lab();
  const socket = lab.host.openUdp({ port: 5000, queueDatagrams: 8 });
  lab.send(Array.from({ length: 20 }, (_, i) => udpFrame({ payload: patterned(i, 8) })));
  t.match(socket.counters, { received: 20, queueFull: 12 });
  for (let i = 0; i < 8; i++) {
    const datagram = await socket.receive();
    t.equal(hexOf(datagram?.data ?? EMPTY), hexOf(patterned(i, 8)));
    t.match([datagram?.from.address.toString(), datagram?.from.port], [PEER4, 4000]);
  }
  const waiting = socket.receive();
  lab.send(udpFrame());
  t.equal((await waiting)?.data.length, 4);
  const last = socket.receive();
  socket.close();
  t.equal(await last, undefined);
  t.equal(lab.missing(), 0);
  lab.close();
});

lab('buffers: a datagram that is taken is the handler’s until it is released or sent; one payload goes to many', {}, (t, lab) => {
  const held: { handle: number; offset: number; length: number }[] = [];
  const free = (): number => lab.iface.driver.pool.available;
  const socket: UdpSocket = lab.host.openUdp({
    port: 5000,
    onDatagrams: (batch) => {
      for (let i = batch.from; i < batch.to; i++) held.push({ offset: batch.offset[i], length: batch.length[i], handle: batch.take(i) });
    },
  });
  lab.send(udpFrame());
  held.splice(0).forEach(({ handle }) => socket.release(handle));
  lab.advance(10_000);
  const before = free();
  lab.send(Array.from({ length: 5 }, (_, i) => udpFrame({ payload: patterned(i, 100) })));
  t.equal(free(), before - 5, 'the pool lacks five');
  t.equal(lab.missing(), 5);
  for (const { handle } of held.splice(0, 4)) socket.release(handle);
  t.equal(free(), before - 1);
  // The peer is known by now; each of three gets the payload that lies in the one buffer.
  const flows = [4001, 4002, 4003].map((port) => socket.flow(PEER4, port));
  flows[0].send(EMPTY);
  lab.advance(10_000);
  lab.take();
  const [shared] = held;
  for (const flow of flows) t.equal(flow.sendShared(shared.handle, shared.offset, shared.length), 'sent');
  socket.release(shared.handle);
  lab.advance(1000);
  t.same(lab.take().map(({ udp }) => [udp?.destinationPort, hexOf(udp?.payload ?? EMPTY)]), [4001, 4002, 4003].map((port) => [port, hexOf(patterned(4, 100))]));
});

lab('RFC 1122 §3.3.4.1, RFC 4291 §2.5.3: datagrams to ourselves never reach a wire', {}, (t, lab) => {
  const got: string[] = [];
  const one = lab.host.openUdp({ port: 5000, onDatagrams: (batch) => got.push(`${batch.source(batch.from).toString()} ${batch.length[batch.from]}`) });
  lab.take();
  for (const to of [US4, US6, '127.0.0.1', '::1', USL]) one.send(patterned(1, 3000), 5000, to);
  const replies: string[] = [];
  lab.stack.icmp.onEchoReply = (source: Address) => void replies.push(source.toString());
  lab.stack.icmp.ping(ip(US4), 1, 1, EMPTY);
  lab.advance(0);
  t.same(got, [US4, US6, '127.0.0.1', '::1', USL].map((to) => `${to} 3000`));
  t.same(replies, [US4]);
  t.same(lab.lines(), []);
  const closed: string[] = [];
  lab.host.openUdp({ onError: (kind) => closed.push(kind) }).send('x', 6000, US4);
  lab.advance(0);
  lab.advance(0);
  t.same(closed, ['portUnreachable']);
});

t.test('a stack that is closed is silent, and its sockets end', async (t) => {
  const lab = new Lab();
  const socket = lab.host.openUdp({ port: 5000 });
  const waiting = socket.receive();
  socket.send('x', 4000, THIRD4);
  lab.stack.close();
  t.equal(await waiting, undefined);
  t.throws(() => lab.host.openUdp(), { code: 'ERR_CLOSED' });
  lab.advance(60 * SECOND_US);
  lab.stack.close();
  t.pass('its timers do no harm');
  lab.close();
});

t.test('RFC 6864 §4.1, RFC 6437 §3: identifications of fragments differ; a flow has one label, another flow another', (t) => {
  const lab = new Lab();
  const socket = lab.host.openUdp({ port: 5000 });
  for (const peer of [PEER4, PEER6]) socket.send('x', 4000, peer);
  lab.advance(10_000);
  lab.take();
  for (let i = 0; i < 50; i++) socket.send(patterned(i, 2000), 4000, PEER4);
  lab.advance(10_000);
  const firsts = lab.take().filter(({ v4 }) => v4?.fragmentOffset === 0);
  t.equal(new Set(firsts.map(({ v4 }) => v4?.id)).size, 50);
  for (const port of [4000, 4000, 4001, 4001]) socket.send('x', port, PEER6);
  lab.advance(10_000);
  const labels = lab.take().map(({ v6 }) => v6?.flowLabel);
  t.equal(labels[0], labels[1]);
  t.equal(labels[2], labels[3]);
  t.not(labels[0], labels[2]);
  t.ok(labels.every((label) => label !== 0));
  t.equal(typeof parseIpv4(firsts[0].packet), 'object');
  lab.close();
  t.end();
});
