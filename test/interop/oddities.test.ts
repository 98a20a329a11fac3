// What no host should send, built by scapy and sent through the kernel's TAP; and recorded traffic, as it was and damaged,
// replayed at us. Each is answered as its RFC wants, mostly not at all, is counted, and does no harm: a ping is answered after it.
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { HOST_MAC, ODD_MAC, PYTHON, WRONG, beside, lacking, until } from './peers.js';

const ROOT = new URL('../../../', import.meta.url);
const SCRIPT = fileURLToPath(new URL('test/interop/oddities.py', ROOT));
const TRAFFIC = fileURLToPath(new URL('test/data/traffic.pcapng', ROOT));

/** Its name and clause; an expression that oddities.py knows; what is answered; which counters move by how much. */
type Oddity = readonly [name: string, packets: string, answers: readonly string[], counters?: Record<string, number>];

const HEADERS: readonly Oddity[] = [
  ['a version that is none (RFC 1122 §3.2.1.1)', 'v4(version=5)/udp()', [], { 'ip.badVersion': 1 }],
  ['a header of 16 bytes (RFC 791 §3.1)', 'v4(ihl=4)/udp()', [], { 'ip.badHeader': 1 }],
  ['a header longer than the packet', 'v4(ihl=15, len=44)/udp()', [], { 'ip.badHeader': 1 }],
  ['a total length shorter than the header', 'v4(len=19)/udp()', [], { 'ip.badHeader': 1 }],
  ['a total length longer than the frame', 'v4(len=1000)/udp()', [], { 'ip.truncated': 1 }],
  ['half a header', 'Ether(bytes(to(US, v4()/udp()))[:24])', [], { 'ip.truncated': 1 }],
  ['an Ethernet header alone', 'bytes(to(US, v4()))[:14]', [], { 'ip.truncated': 1 }],
  ['a wrong header checksum (RFC 1122 §3.2.1.2)', 'v4(chksum=0x1234)/udp()', [], { 'ip.badChecksum': 1 }],
  ['padding behind the packet is none of it', 'to(US, v4()/udp())/Padding(b"x"*30)', ['udp 16'], { 'udp.delivered': 1 }],
  ['land: our own address as its source', 'v4(src=US4)/udp(OPEN)', [], { 'ip.martians': 1 }],
  ['sources that no host has (RFC 1122 §3.2.1.3)', '[v4(src=s)/udp(CLOSED) for s in ("127.0.0.1", "224.0.0.1", "255.255.255.255", BROADCAST4, "0.0.0.0", "240.0.0.1")]', [], { 'ip.martians': 6 }],
  ['a loopback address on the wire (RFC 1122 §3.2.1.3 g)', 'v4(dst="127.0.0.1")/udp()', [], { 'ip.martians': 1 }],
  ['another host\'s packet, as we are no router (RFC 1122 §3.2.1.3)', 'v4(dst="198.18.0.55")/udp()', [], { 'ip.notOurs': 1, 'ip.forwarded': 0 }],
  ['another station\'s frame', 'to("02:00:00:00:00:77", v4()/udp())', [], { 'ip.received': 1 }],
  ['smurf: an echo request to all (RFC 1122 §3.2.2.6)', '[everyone(v4(dst=d)/ICMP()) for d in (BROADCAST4, "255.255.255.255")]', [], { 'icmp.groupEchoes': 2 }],
  ['errors about what came to all are not sent (RFC 1122 §3.2.2)', '[everyone(v4(dst=BROADCAST4)/udp(CLOSED)), everyone(v4(dst=BROADCAST4, proto=253)/b"12345678")]', [], { 'udp.noPort': 1, 'ip.unknownProtocol': 1 }],
  ['a packet to us in a frame to all (RFC 1122 §3.3.6)', 'everyone(v4()/udp())', [], { 'ip.martians': 1 }],
  ['an unknown protocol (RFC 1122 §3.2.2.1)', 'v4(proto=253)/b"12345678"', ['icmp 3/2'], { 'ip.unknownProtocol': 1 }],
  ['types that nobody here takes', '[Ether(src=ODD, dst=US, type=0x88b5)/b"12345678", to(US, Dot1Q(vlan=1)/v4()/udp()), Dot3(src=ODD, dst=US)/LLC()/b"1234"]'.replace('Dot3(', 'Ether(type=11, '), []],
];

const OPTIONS: readonly Oddity[] = [
  ['record route and timestamp are let be (RFC 791 §3.1)', '[v4(options=IPOption_RR(pointer=4, routers=["0.0.0.0"]*3))/ICMP(), v4(options=IPOption(b"\\x44\\x0c\\x05\\x00" + bytes(8)))/udp()]', ['icmp 0/0', 'udp 16']],
  ['an unknown option is ignored (RFC 1122 §3.2.1.8)', 'v4(options=IPOption(b"\\x9e\\x04ab"))/udp()', ['udp 16']],
  ['source routes are refused (RFC 7126 §4.3)', '[v4(options=o(pointer=4, routers=["198.18.0.77"]))/udp() for o in (IPOption_LSRR, IPOption_SSRR)]', ['icmp 3/5', 'icmp 3/5'], { 'ip.badOptions': 2 }],
  ['an option of no length, and one longer than the header (RFC 1122 §3.2.2.5)', '[v4(options=IPOption(o))/udp() for o in (b"\\x9e\\x00ab", b"\\x9e\\x09ab")]', ['icmp 12/0 at 20', 'icmp 12/0 at 20'], { 'ip.badOptions': 2 }],
  ['but not to all who got one', 'everyone(v4(dst=BROADCAST4, options=IPOption(b"\\x9e\\x00ab"))/udp())', [], { 'ip.badOptions': 1 }],
];

const TRANSPORT: readonly Oddity[] = [
  ['a closed port (RFC 1122 §4.1.3.1, RFC 4443 §3.1)', '[v4()/udp(CLOSED), v6()/udp(CLOSED)]', ['icmp 3/3', 'icmp6 1/4'], { 'udp.noPort': 2 }],
  ['UDP lengths of less than a header, and of more than there is (RFC 768)', '[ip()/udp(len=n) for ip in (v4, v6) for n in (0, 7, 25, 65535)]', [], { 'udp.truncated': 8 }],
  ['a UDP length of less than there is: the rest is no part of it', '[v4()/segment(b"1234")/b"rest", v6()/segment(b"1234", KERNEL6, US6)/b"rest"]'.replaceAll('v4()', 'v4(proto=17)').replaceAll('v6()', 'v6(nh=17)'), ['udp 4', 'udp 4'], { 'udp.delivered': 2 }],
  ['half a UDP header', '[v4(proto=17)/b"1234", v6(nh=17)/b"1234"]', [], { 'udp.truncated': 2 }],
  ['a wrong UDP checksum', '[v4()/udp(chksum=0x1234), v6()/udp(chksum=0x1234)]', [], { 'udp.badChecksum': 2 }],
  ['no UDP checksum: good for IPv4, an error for IPv6 (RFC 768, RFC 8200 §8.1)', '[v4()/udp(chksum=0), v6()/udp(chksum=0)]', ['udp 16'], { 'udp.badChecksum': 1, 'udp.delivered': 1 }],
  ['ICMP: a wrong checksum, half a header', '[v4()/ICMP(chksum=0x1234), v4(proto=1)/b"\\x08\\x00", v6()/ICMPv6EchoRequest(cksum=0x1234), v6(nh=58)/b"\\x80\\x00"]', [], { 'icmp.malformed': 4 }],
  ['ICMP: unknown types are silently discarded (RFC 1122 §3.2.2, RFC 4443 §2.4 b)', '[v4()/ICMP(type=42), v4()/ICMP(type=13), v4()/ICMP(type=17), v6()/ICMPv6Unknown(type=200, msgbody=b"1234")]', [], { 'icmp.unknown': 4 }],
  ['ICMP: errors about what we never sent, or quoting nothing (RFC 5927 §4)', '[v4()/ICMP(type=3, code=4, nexthopmtu=68)/IP(src=US4, dst=KERNEL4)/UDP(sport=1234, dport=9), v4()/ICMP(type=3, code=3), v6()/ICMPv6PacketTooBig(mtu=1280)/IPv6(src=US6, dst=KERNEL6)/UDP(sport=1234, dport=9), v6()/ICMPv6DestUnreach()]', [], { 'icmp.errorsReceived': 4, 'icmp.malformed': 4 }],
  ['ICMPv6: an error about an error is not sent (RFC 4443 §2.4 e.1)', 'v6()/IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x9e, optdata=b"1234")])/ICMPv6DestUnreach()/bytes(v6()/udp())', [], { 'ip.badOptions': 1 }],
  ['ICMPv6: an unknown error is no reason for another', 'v6()/ICMPv6Unknown(type=100, msgbody=bytes(v6()/udp()))', []],
];

const FRAGMENTS: readonly Oddity[] = [
  ['fragments in any order, the first of 8 bytes (RFC 791 §3.2)', 'cut4([(64, 72), (8, 64), (0, 8)]) + cut6([(64, 72), (0, 8), (8, 64)])', ['udp 64', 'udp 64'], { 'reassembly.reassembled': 2 }],
  ['the same fragment twice', 'cut4([(0, 32), (0, 32), (32, 72)], ident=2) + cut6([(0, 32), (0, 32), (32, 72)], ident=2)', ['udp 64', 'udp 64'], { 'reassembly.duplicates': 2 }],
  ['overlapping fragments: all of them go (RFC 5722 §3)', 'cut4([(0, 32), (24, 72)], ident=3) + cut6([(0, 32), (24, 72)], ident=3) + cut4([(32, 72), (0, 40)], ident=4) + cut6([(32, 72), (0, 40)], ident=4)', [], { 'reassembly.overlaps': 4, 'reassembly.reassembled': 0 }],
  ['teardrop: one inside another', 'cut4([(0, 48), (8, 24)], ident=5) + cut6([(0, 48), (8, 24)], ident=5)', [], { 'reassembly.overlaps': 2 }],
  ['two ends', '[v4(id=6, proto=17, frag=f)/bytes(8) for f in (10, 12)]', [], { 'reassembly.overlaps': 1 }],
  ['ping of death: a fragment that reaches over 65,535', 'v4(id=7, proto=1, frag=8191)/bytes(100)', [], { 'reassembly.tooLong': 1 }],
  ['the same in IPv6 is reported (RFC 8200 §4.5)', 'v6()/IPv6ExtHdrFragment(nh=58, id=7, offset=8191)/bytes(100)', ['icmp6 4/0 at 42'], { 'ip.badHeader': 1 }],
  ['a fragment of no whole units, not the last', 'v4(id=8, proto=17, flags="MF")/bytes(13)', [], { 'reassembly.tooLong': 1 }],
  ['the same in IPv6 is reported (RFC 8200 §4.5)', 'v6()/IPv6ExtHdrFragment(nh=17, id=8, m=1)/bytes(13)', ['icmp6 4/0 at 4'], { 'ip.badHeader': 1 }],
  ['but not about an error (RFC 4443 §2.4 e.1)', 'v6()/IPv6ExtHdrFragment(nh=58, id=8, m=1)/(b"\\x01\\x04" + bytes(15))', [], { 'ip.badHeader': 1 }],
  ['in the report of a closed port, the datagram has the options it had', 'cut4([(32, 72), (0, 32)], ident=12, dport=CLOSED, options=IPOption(b"\\x9e\\x04ab"))', ['icmp 3/3'], { 'udp.noPort': 1 }],
  ['other headers ahead of the first fragment than of the others: the first one\'s count (RFC 8200 §4.5)', '(lambda f: [f[0], v6()/IPv6ExtHdrDestOpt()/f[1].payload])(cut6([(0, 32), (32, 72)], ident=12)) + (lambda f: [v6()/IPv6ExtHdrDestOpt()/f[0].payload, f[1]])(cut6([(0, 32), (32, 72)], ident=13))', ['udp 64', 'udp 64']],
  ['fragment headers in fragments (RFC 8200 §4.1)', 'cut(v6(), bytes([44, 0, 0, 0, 0, 0, 0, 1]) * 8000 + bytes([17, 0, 0, 0, 0, 0, 0, 1]) + segment(b"1234", KERNEL6, US6), 44)', [], { 'ip.badOptions': 1, 'reassembly.reassembled': 1 }],
  ['an empty fragment', '[v4(id=9, proto=17, flags="MF"), v6()/IPv6ExtHdrFragment(nh=17, id=9, m=1)]', [], { 'reassembly.tooLong': 2 }],
  ['an atomic fragment is whole, whatever goes on under its identification (RFC 6946 §4)', 'cut6([(0, 32)], ident=10) + [v6()/IPv6ExtHdrFragment(id=10)/udp()] + cut6([(32, 72)], ident=10)', ['udp 16', 'udp 64']],
  ['a fragment header that is cut off', 'v6(nh=44)/b"\\x11\\x00\\x00\\x01"', [], { 'ip.badOptions': 1 }],
  ['a thousand datagrams of which only one fragment comes', '[p for i in range(500) for p in cut4([(0, 32)], ident=100 + i) + cut6([(32, 72)], ident=100 + i)]', [], { 'reassembly.reassembled': 0 }],
  ['after which there is room for others', 'cut4([(0, 32), (32, 72)], ident=11) + cut6([(0, 32), (32, 72)], ident=11)', ['udp 64', 'udp 64'], { 'reassembly.reassembled': 2 }],
];

const IPV6: readonly Oddity[] = [
  ['a version that is none', 'v6(version=4)/udp()', [], { 'ip.badVersion': 1 }],
  ['a payload length longer than the frame', 'v6(plen=1000)/udp()', [], { 'ip.truncated': 1 }],
  ['half a header', 'bytes(to(US, v6()))[:40]', [], { 'ip.truncated': 1 }],
  ['land, and sources that no host has (RFC 4291 §2.7, §2.5.3)', '[v6(src=s)/udp(CLOSED) for s in (US6, "ff02::1", "::1")]', [], { 'ip.martians': 3 }],
  ['nobody\'s source gets no error', 'v6(src="::")/udp(CLOSED)', []],
  ['another host\'s packet', 'v6(dst="fd00::55")/udp()', [], { 'ip.notOurs': 1 }],
  ['an echo request to all nodes', 'everyone(v6(dst=NODES6)/ICMPv6EchoRequest())', [], { 'icmp.groupEchoes': 1 }],
  ['an unknown option that may be skipped (RFC 8200 §4.2)', 'hop(0x1e)', ['udp 16'], { 'udp.delivered': 1 }],
  ['one that asks to discard', 'hop(0x5e)', [], { 'ip.badOptions': 1 }],
  ['one that asks for an error', '[hop(0x9e), hop(0xde)]', ['icmp6 4/2 at 42', 'icmp6 4/2 at 42'], { 'ip.badOptions': 2 }],
  ['to a group: of 10 even then, of 11 not', '[everyone(hop(k, dst=NODES6)) for k in (0x9e, 0xde)]', ['icmp6 4/2 at 42'], { 'ip.badOptions': 2 }],
  ['hop-by-hop options that are not first (RFC 8200 §4.1)', 'v6()/IPv6ExtHdrDestOpt()/IPv6ExtHdrHopByHop()/udp()', ['icmp6 4/1 at 40'], { 'ip.badOptions': 1 }],
  ['an option longer than its header, a header longer than the packet', '[v6(nh=0)/(b"\\x11\\x00\\x1e\\x09" + bytes(4))/udp(), v6(nh=60)/(b"\\x11\\xff" + bytes(6))]', [], { 'ip.badOptions': 2 }],
  ['a routing header with a way to go (RFC 5095 §3)', 'v6()/IPv6ExtHdrRouting(type=0, addresses=["fd00::77"], segleft=1)/udp()', ['icmp6 4/0 at 42'], { 'ip.badOptions': 1 }],
  ['and one that has come to its end (RFC 8200 §4.4)', 'v6()/IPv6ExtHdrRouting(type=0, addresses=["fd00::77"], segleft=0)/udp()', ['udp 16']],
  ['a next header that nobody knows, at its place (RFC 8200 §4)', '[v6(nh=253)/b"12345678", v6()/IPv6ExtHdrDestOpt(nh=253)/b"12345678"]', ['icmp6 4/1 at 6', 'icmp6 4/1 at 40'], { 'ip.unknownProtocol': 2 }],
  ['IPv4\'s ICMP in IPv6, and the other way round', '[v6(nh=1)/bytes(ICMP()), v4(proto=58)/bytes(8)]', ['icmp6 4/1 at 6', 'icmp 3/2'], { 'ip.unknownProtocol': 2 }],
  ['no next header (RFC 8200 §4.7)', 'v6(nh=59)/b"12345678"', []],
  ['a chain of 200 headers', 'v6(nh=60)/(bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 100)/bytes([17, 0, 1, 4, 0, 0, 0, 0])/udp()', []],
];

const NEIGHBOURS: readonly Oddity[] = [
  ['a good solicitation, with an option that nobody knows (RFC 4861 §4.6)', 'nd(ICMPv6ND_NS(tgt=US6), ICMPv6NDOptUnknown(type=200, len=1, data=bytes(6)))', ['icmp6 136/0'], { 'nd.solicitationsAnswered': 1 }],
  ['one through a router, with a code, to nobody (RFC 4861 §7.1.1)', '[nd(ICMPv6ND_NS(tgt=US6), hlim=64), nd(ICMPv6ND_NS(tgt=US6, code=1)), nd(ICMPv6ND_NS(tgt="ff02::1"))]', [], { 'nd.malformed': 3 }],
  ['options without length, longer than the message', '[nd(ICMPv6ND_NS(tgt=US6), o) for o in (b"\\x01\\x00" + bytes(6), b"\\x01\\x09" + bytes(6))]', [], { 'nd.malformed': 2 }],
  ['a message that is cut off', 'nd(ICMPv6Unknown(type=135, msgbody=bytes(12)))', [], { 'nd.malformed': 1 }],
  ['duplicate address detection for ours is answered to all (RFC 4861 §7.2.4)', 'nd(ICMPv6ND_NS(tgt=US6), src="::", dst="ff02::1:ff00:2")', ['icmp6 136/0'], { 'nd.solicitationsAnswered': 1 }],
  ['but not one that names a station, or comes to us alone (RFC 4861 §7.1.1)', '[nd(ICMPv6ND_NS(tgt=US6), ICMPv6NDOptSrcLLAddr(lladdr=ODD), src="::", dst="ff02::1:ff00:2"), nd(ICMPv6ND_NS(tgt=US6), src="::")]', [], { 'nd.malformed': 2 }],
  ['advertisements: solicited, but to all; of a group (RFC 4861 §7.1.2)', '[nd(ICMPv6ND_NA(tgt=KERNEL6, S=1), dst=NODES6), nd(ICMPv6ND_NA(tgt="ff02::1"))]', [], { 'nd.malformed': 2 }],
  ['routers: through a router, not from a link-local address, cut off (RFC 4861 §6.1.2)', '[nd(ICMPv6ND_RA(chlim=7), hlim=64, src="fe80::1"), nd(ICMPv6ND_RA(chlim=7)), nd(ICMPv6Unknown(type=134, msgbody=bytes(6)), src="fe80::1")]', [], { 'nd.malformed': 3, 'nd.routerAdvertisements': 0 }],
  ['a station address that is a group\'s is nobody\'s', '[nd(ICMPv6ND_NS(tgt=US6), ICMPv6NDOptSrcLLAddr(lladdr="ff:ff:ff:ff:ff:ff"), src="fd00::50"), nd(ICMPv6ND_NA(tgt=KERNEL6, S=1, O=1), ICMPv6NDOptDstLLAddr(lladdr="33:33:00:00:00:01"))]', [], { 'nd.malformed': 2 }],
  ['ARP for us', 'to("ff:ff:ff:ff:ff:ff", ARP(hwsrc=ODD, psrc="198.18.0.66", pdst=US4))', ['arp reply'], { 'arp.requestsAnswered': 1 }],
  ['ARP of other hardware, of other lengths, cut off (RFC 826)', '[to(US, ARP(hwtype=6, hwsrc=ODD, psrc="198.18.0.66", pdst=US4)), to(US, ARP(hwlen=8, plen=4, hwsrc=ODD, psrc="198.18.0.66", pdst=US4)), Ether(bytes(to(US, ARP(pdst=US4)))[:30])]', [], { 'arp.malformed': 3 }],
  ['ARP that calls a group a station (RFC 1812 §3.3.2)', '[to(US, ARP(op=o, hwsrc="ff:ff:ff:ff:ff:ff", psrc="198.18.0.50", pdst=US4)) for o in (1, 2)]', [], { 'arp.malformed': 2 }],
  ['ARP from no host, for another, of an unknown kind', '[to(US, ARP(hwsrc=ODD, psrc="224.0.0.1", pdst=US4)), to(US, ARP(hwsrc=ODD, psrc="198.18.0.66", pdst="198.18.0.67")), to(US, ARP(op=9, hwsrc=ODD, psrc="198.18.0.66", pdst=US4))]', [], { 'arp.malformed': 1 }],
];

t.test('scapy', { skip: lacking('scapy', 'ping') }, beside({}, async (t, peers) => {
  const { side, host } = peers;
  host.openUdp({
    port: 7007,
    onDatagrams: (batch, socket) => {
      for (let i = batch.from; i < batch.to; i++) socket.reply(batch, i);
    },
  });
  // So that no answer has to wait for the kernel's station address.
  for (const address of ['198.18.0.2', 'fd00::2']) await side.run(`ping -n -c 1 -W 5 ${address}`);
  const python = side.namespace.spawn(PYTHON, [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: python.stdout! });
  for (const [title, oddities] of Object.entries({ 'IPv4 headers': HEADERS, 'IPv4 options': OPTIONS, 'IPv6': IPV6, 'UDP and ICMP': TRANSPORT, 'fragments': FRAGMENTS, 'neighbours': NEIGHBOURS })) {
    await t.test(title, async (t) => {
      for (const [name, packets, answers, counters = {}] of oddities) {
        const before = peers.counters();
        python.stdin!.write(`${packets}\n`);
        const [said] = (await once(lines, 'line', { signal: AbortSignal.timeout(15_000) })) as [string];
        t.same(JSON.parse(said), answers, `${name}: the answer`);
        const after = peers.counters();
        t.same(Object.fromEntries(Object.keys(counters).map((key) => [key, after[key] - before[key]])), counters, `${name}: is counted`);
      }
    });
  }
  python.stdin!.end();
  t.ok((await peers.recorded(`eth.src == ${ODD_MAC} && (${WRONG})`, 'frame.number')).length > 20, 'tshark would have found what is wrong in ours too');
}));

t.test('of datagrams whose rest never comes, those that began are reported (RFC 1122 §3.3.2, RFC 8200 §4.5)', { skip: lacking('scapy', 'ping') }, beside(
  { host: { reassembly: { timeoutUs: 100e3 } } },
  async (t, peers) => {
    const { side, host } = peers;
    for (const address of ['198.18.0.2', 'fd00::2']) await side.run(`ping -n -c 1 -W 5 ${address}`);
    const fragments = ['IP(src="198.18.0.1", dst="198.18.0.2", id=I, proto=17, flags="MF", frag=F)', 'IPv6(src="fd00::1", dst="fd00::2")/IPv6ExtHdrFragment(nh=17, id=I, m=1, offset=F)'];
    const frames = fragments.map((one) => `[Ether(src="${ODD_MAC}", dst="${HOST_MAC}")/${one}/bytes(64) for I, F in ((1, 0), (2, 8))]`);
    await side.python(['from scapy.all import *', `sendp(${frames.join(' + ')}, iface="tap0", verbose=0)`]);
    await until('they are given up', () => host.stack.ip.reassembly.counters.timedOut === 4);
    t.match(await side.run('ping -n -c 1 -W 5 198.18.0.2'), /1 received/);
    const reports = await peers.recorded(`eth.src == ${HOST_MAC} && icmp.type == 11`, 'icmp.code', 'ip.id');
    t.same(reports.map((line) => line.replace(/0x[^,]*,/, '')), ['1\t0x0001'], 'which quotes the first fragment');
    t.same(await peers.recorded(`eth.src == ${HOST_MAC} && icmpv6.type == 3`, 'icmpv6.code', 'ipv6.fraghdr.ident'), ['1\t0x00000001']);
  },
));

/** Writes TRAFFIC anew, all of it from ODD_MAC to us, and every second frame damaged by some random bytes behind its first 14, or cut. */
const REWRITE = [
  'import random, sys',
  'from scapy.utils import PcapWriter, RawPcapReader',
  'source, target, seed = sys.argv[1:4]',
  'random.seed(int(seed))',
  'writer = PcapWriter(target, linktype=1)',
  'for i, (frame, _) in enumerate(RawPcapReader(source)):',
  `  frame = bytearray(bytes.fromhex("${HOST_MAC}${ODD_MAC}".replace(":", "")) + frame[12:])`,
  '  if seed != "0" and i % 2 == 0:',
  '    if i % 10 == 0: del frame[random.randrange(14, len(frame)):]',
  '    else:',
  '      for _ in range(random.randint(1, 4)): frame[random.randrange(14, min(len(frame), 80))] = random.getrandbits(8)',
  '  writer.write(bytes(frame))',
  'writer.close()',
];
const FRAMES = 523;

t.test('tcpreplay: recorded traffic, as it was and damaged', { skip: lacking('tcpreplay', 'scapy', 'ping') }, beside(
  // The traffic has ARP packets that name another station for the kernel's address: that is to be found out soon.
  { sides: [{ interface: { addresses: ['198.18.0.2/24', 'fd00::2/64', 'fd00:18::2/64'], nud: { delayFirstProbeUs: 20e3, retransTimerUs: 20e3 } } }] },
  async (t, peers) => {
    const { side, host } = peers;
    const file = `${t.testdir()}/traffic.pcap`;
    const replayed = async (seed: number): Promise<void> => {
      await side.namespace.exec(PYTHON, ['-c', REWRITE.join('\n'), TRAFFIC, file, `${seed}`]);
      const before = host.interfaces[0].counters.rxFrames;
      await side.run(`tcpreplay -q -i tap0 --pps=2000 ${file}`);
      await until('all have come', () => host.interfaces[0].counters.rxFrames >= before + FRAMES);
      for (const address of ['198.18.0.2', 'fd00::2']) {
        t.match(await side.run(`ping -n -c 1 -i 0.2 -w 5 ${address}`, { allowFailure: true }), /1 received/, `seed ${seed}: ${address} answers a ping`);
      }
    };
    const rtp = [host.openUdp({ port: 5004 }), host.openUdp({ port: 5006 })];
    await replayed(0);
    t.same(rtp.map(({ counters }) => counters.received), [150, 100], 'both RTP streams of test/data/README.md are whole');
    const before = peers.counters();
    t.ok(before['ip.martians'] > 100, 'what comes back from our own address is no one\'s');
    t.ok(before['icmp.echoes'] >= 8 + 2, 'the pings to us were answered, and ours');
    t.equal(before['udp.badChecksum'] + before['ip.badChecksum'] + before['icmp.malformed'], 0);
    for (const seed of [1, 2, 3, 4, 5]) await replayed(seed);
    const after = peers.counters();
    for (const name of ['ip.truncated', 'ip.badHeader', 'ip.badChecksum', 'udp.badChecksum', 'icmp.malformed']) t.ok(after[name] > before[name], name);
    const answered = new Set((await peers.recorded(`eth.src == ${HOST_MAC} && (ip || ipv6)`, 'ip.dst', 'ipv6.dst')).map((line) => line.trim().split(',')[0]));
    t.ok(answered.size > 3, [...answered].join(' '));
    t.same([...answered].filter((to) => !/^(198\.18\.0\.|fd00::|fd00:18::|fe80::|ff02::)/.test(to)), [], 'nothing goes to where no route leads');
    const errors = await peers.recorded(`eth.src == ${HOST_MAC} && eth.dst.ig == 1 && (icmp || icmpv6.type < 128)`, 'frame.number');
    t.same(errors, [], 'no error to a group');
    const kinds = (await peers.recorded(`eth.src == ${HOST_MAC} && icmp`, 'icmp.type', 'icmp.code')).map((line) => line.split('\t').map((all) => all.split(',')[0]).join('/'));
    t.same([...new Set(kinds)].sort().filter((kind) => !['0/0', '3/2', '3/3', '3/5', '12/0'].includes(kind)), [], 'echo replies, unreachable protocols and ports, bad options');
  },
));
