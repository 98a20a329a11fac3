// The formats on the wire: what was built is what is parsed; anything at all is parsed or refused, never thrown at; and vectors
// that others have computed.
import fc from 'fast-check';
import t from 'tap';
import { Address, AddressMap, Prefix } from '../../src/base/index.js';
import { finish, fold, sumBytes, sumPseudo, update } from '../../src/stack/checksum.js';
import { type Arp, buildArp, parseArp } from '../../src/stack/wire/arp.js';
import { formatMac, isGroupMac, readMac, writeEthernet, writeMac } from '../../src/stack/wire/ethernet.js';
import { buildIcmp, isErrorType, parseIcmp } from '../../src/stack/wire/icmp.js';
import { type Ipv4, checkOptions, copiedOptions, parseIpv4, writeIpv4 } from '../../src/stack/wire/ipv4.js';
import { type Ipv6, parseFragment, parseIpv6, walkExtensions, writeFragment, writeIpv6 } from '../../src/stack/wire/ipv6.js';
import { type NdOptions, buildNdOptions, buildNeighbour, buildRouterAdvertisement, parseNdOptions, parseNeighbour, parseRouterAdvertisement } from '../../src/stack/wire/ndp.js';
import { parseUdp, writeUdp } from '../../src/stack/wire/udp.js';
import { bytesOf, hexOf, ip, ip4, ip6, udpSegment } from './rig.js';

const u8 = fc.integer({ min: 0, max: 255 });
const u16 = fc.integer({ min: 0, max: 65535 });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const mac = fc.integer({ min: 0, max: 2 ** 48 - 1 });
// Words of 0 and of all ones are where compression, signs and carries are.
const word = fc.oneof(u32, fc.constantFrom(0, 0xffffffff, 0xffff, 0xffff0000, 1, 0x80000000));
const v4 = word.map((w) => Address.v4(w));
const v6 = fc.tuple(word, word, word, word).map((w) => Address.v6(...w));
const address = fc.oneof(v4, v6);
const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });

/** A copy that stands in the middle of other bytes, so that a view beyond its ends shows; and whether a view keeps inside. */
function surrounded(content: Uint8Array): { view: Uint8Array; holds: (other: Uint8Array) => boolean } {
  const all = new Uint8Array(content.length + 64).fill(0xa5);
  all.set(content, 32);
  const view = all.subarray(32, 32 + content.length);
  const holds = (other: Uint8Array): boolean =>
    other.length === 0 || other.buffer !== all.buffer || (other.byteOffset >= view.byteOffset && other.byteOffset + other.length <= view.byteOffset + view.length);
  return { view, holds };
}

/** Valid bytes with some of them changed, cut off or added. */
const mutated = (valid: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> =>
  fc.tuple(valid, fc.array(fc.tuple(fc.nat(), u8), { maxLength: 4 }), fc.option(fc.nat()), bytes(8)).map(([whole, changes, cut, more]) => {
    const changed = whole.slice();
    for (const [at, value] of changes) if (changed.length > 0) changed[at % changed.length] = value;
    const kept = cut === null ? changed : changed.subarray(0, cut % (changed.length + 1));
    return Uint8Array.from([...kept, ...more]);
  });

const RUNS = { numRuns: 500 };

t.test('RFC 1071', (t) => {
  t.test('§3: the example sums to ddf2, in any grouping', (t) => {
    const example = bytesOf('0001f203f4f5f6f7');
    t.equal(fold(sumBytes(example, 0, 8)), 0xddf2);
    t.equal(finish(sumBytes(example, 0, 8)), 0x220d);
    // §2 (A): in parts, each of which begins at an even place.
    t.equal(fold(sumBytes(example, 4, 4, sumBytes(example, 0, 4))), 0xddf2);
    t.end();
  });
  t.test('§4.1: an odd last byte is the first of its word', (t) => {
    t.equal(sumBytes(bytesOf('0001f2'), 0, 3), 0x0001 + 0xf200);
    t.equal(sumBytes(bytesOf('ffff0001f2ff'), 2, 3), 0x0001 + 0xf200);
    t.end();
  });
  t.test('§2: against plain arithmetic modulo 65535', (t) => {
    fc.assert(fc.property(bytes(3000), u16, (data, start) => {
      let sum = BigInt(start);
      for (const [i, byte] of data.entries()) sum += BigInt(byte) << (i % 2 === 0 ? 8n : 0n);
      const expected = sum === 0n ? 0 : Number(((sum - 1n) % 65535n) + 1n);
      return fold(sumBytes(data, 0, data.length, start)) === expected;
    }), RUNS);
    t.equal(fold(sumBytes(new Uint8Array(65535).fill(0xff), 0, 65535)), fold(32767 * 0xffff + 0xff00), 'the longest packet there is');
    t.end();
  });
  t.test('§2 (B): data and its checksum sum to all ones', (t) => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 2, maxLength: 100 }), (data) => {
      const even = data.slice(0, data.length & ~1);
      even.set([0, 0]);
      const checksum = finish(sumBytes(even, 0, even.length));
      even.set([checksum >>> 8, checksum & 255]);
      return fold(sumBytes(even, 0, even.length)) === 0xffff;
    }), RUNS);
    t.end();
  });
  t.end();
});

t.test('RFC 1624', (t) => {
  t.equal(update(0xdd2f, 0x5555, 0x3285), 0x0000, '§4: the example whose result is 0 and not ffff');
  fc.assert(fc.property(fc.uint8Array({ minLength: 4, maxLength: 60 }), fc.nat(), u16, (data, where, after) => {
    // §3 (eqn. 3): as computed anew. All-zero data has no checksum of its own that could differ: 0 and ffff are both of it.
    const even = data.slice(0, data.length & ~1);
    const at = (where % (even.length / 2)) * 2;
    const before = (even[at] << 8) | even[at + 1];
    const checksum = finish(sumBytes(even, 0, even.length));
    even.set([after >>> 8, after & 255], at);
    const anew = finish(sumBytes(even, 0, even.length));
    return update(checksum, before, after) === anew || even.every((b) => b === 0);
  }), { numRuns: 2000 });
  t.end();
});

t.test('addresses', (t) => {
  t.test('RFC 4291 §2.2, RFC 5952: texts', (t) => {
    // Text, canonical text.
    for (const [text, canonical] of [
      ['2001:DB8:0:0:8:800:200C:417A', '2001:db8::8:800:200c:417a'],
      ['FF01:0:0:0:0:0:0:101', 'ff01::101'],
      ['0:0:0:0:0:0:0:1', '::1'],
      ['::', '::'],
      ['0:0:0:0:0:0:13.1.68.3', '::d01:4403'],
      ['::FFFF:129.144.52.38', '::ffff:8190:3426'],
      ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'], // RFC 5952 §4.2.2: one group is not shortened
      ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'], // §4.2.3: the longest
      ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'], // §4.2.3: the first of equals
      ['2001:0db8::0001', '2001:db8::1'], // §4.1: no leading zeros
      ['1::', '1::'],
      ['198.18.0.1', '198.18.0.1'],
      ['255.255.255.255', '255.255.255.255'],
    ]) {
      t.equal(Address.parse(text).toString(), canonical, text);
    }
    for (const wrong of ['', '1.2.3', '1.2.3.4.5', '256.1.1.1', '1.2.3.a', ' 1.2.3.4', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1::2::3', ':::', ':1', '1:', '12345::', 'g::', '::1.2.3', '1.2.3.4::', '::1%eth0', '1:2:3:4:5:6:7:8::']) {
      t.throws(() => Address.parse(wrong), { code: 'ERR_INVALID_ARGUMENT' }, wrong);
    }
    t.end();
  });
  t.test('text and bytes give the same address back', (t) => {
    fc.assert(fc.property(address, u8, (a, at) => {
      const room = new Uint8Array(300).fill(0x5a);
      a.write(room, at);
      const read = Address.read(room, at, a.family);
      return a.equals(read) && a.equals(Address.parse(a.toString())) && room.filter((b, i) => (i < at || i >= at + a.bytes) && b !== 0x5a).length === 0;
    }), RUNS);
    fc.assert(fc.property(address, address, (a, b) => a.equals(b) === (a.family === b.family && a.toString() === b.toString())), RUNS);
    fc.assert(fc.property(fc.string(), (text) => {
      try {
        return Address.parse(text).equals(Address.parse(Address.parse(text).toString()));
      } catch (error) {
        return (error as { code: string }).code === 'ERR_INVALID_ARGUMENT';
      }
    }), RUNS);
    t.end();
  });
  t.test('RFC 4291 §2.4, RFC 1122 §3.2.1.3: kinds', (t) => {
    const kinds = (text: string): string => {
      const a = Address.parse(text);
      return [a.isUnspecified && 'unspecified', a.isLoopback && 'loopback', a.isMulticast && 'multicast', a.isBroadcast && 'broadcast', a.isLinkLocal && 'link-local', a.isSource && 'source'].filter(Boolean).join(' ');
    };
    for (const [text, kind] of [
      ['0.0.0.0', 'unspecified'], ['0.1.2.3', ''], ['127.0.0.1', 'loopback source'], ['127.255.255.255', 'loopback source'], ['128.0.0.1', 'source'],
      ['223.255.255.255', 'source'], ['224.0.0.0', 'multicast'], ['239.255.255.255', 'multicast'], ['240.0.0.0', ''], ['255.255.255.255', 'broadcast'],
      ['169.254.0.1', 'link-local source'], ['::', 'unspecified'], ['::1', 'loopback source'], ['::2', 'source'], ['ff02::1', 'multicast'],
      ['fe80::1', 'link-local source'], ['febf::1', 'link-local source'], ['fec0::1', 'source'], ['fe7f::1', 'source'], ['2001:db8::1', 'source'],
    ]) {
      t.equal(kinds(text), kind, text);
    }
    t.end();
  });
  t.test('a prefix contains what has its bits', (t) => {
    fc.assert(fc.property(address, address, fc.nat(128), (a, b, wish) => {
      const length = Math.min(wish, 8 * a.bytes);
      const bits = (x: Address): string => {
        const raw = new Uint8Array(x.bytes);
        x.write(raw, 0);
        return [...raw].map((byte) => byte.toString(2).padStart(8, '0')).join('').slice(0, length);
      };
      return new Prefix(a, length).contains(b) === (a.family === b.family && bits(a) === bits(b)) && new Prefix(a, length).contains(a);
    }), RUNS);
    t.equal(Prefix.parse('198.18.5.7/20').broadcast?.toString(), '198.18.15.255', 'RFC 919 §7');
    t.equal(Prefix.parse('198.18.5.7/31').broadcast, undefined, 'RFC 3021 §2.1');
    t.equal(Prefix.parse('fd00::1/64').broadcast, undefined, 'RFC 4291 §2: none in IPv6');
    for (const wrong of ['198.18.0.1/33', 'fd00::/129', '198.18.0.1', '198.18.0.1/', '/8', '1.2.3.4/-1', '1.2.3.4/8/8']) t.throws(() => Prefix.parse(wrong), { code: 'ERR_INVALID_ARGUMENT' }, wrong);
    t.end();
  });
  t.test('the table by address is a map', (t) => {
    const few = fc.oneof(fc.nat(400).map((n) => Address.v4(n)), fc.nat(400).map((n) => Address.v6(0, 0, 0xffff, n)), v6);
    const step = fc.oneof(fc.record({ act: fc.constant('set' as const), key: few, value: u32 }), fc.record({ act: fc.constantFrom('delete' as const, 'get' as const), key: few, value: u32 }), fc.record({ act: fc.constant('clear' as const), key: few, value: u32 }));
    fc.assert(fc.property(fc.array(fc.oneof({ weight: 200, arbitrary: step.filter(({ act }) => act !== 'clear') }, { weight: 1, arbitrary: step }), { maxLength: 800 }), (steps) => {
      const table = new AddressMap<number>();
      const model = new Map<string, number>();
      for (const { act, key, value } of steps) {
        const name = `${key.family} ${key.toString()}`;
        if (act === 'set') {
          table.set(key, value);
          model.set(name, value);
        } else if (act === 'delete' && table.delete(key) !== model.delete(name)) return false;
        else if (act === 'get' && table.get(key) !== model.get(name)) return false;
        else if (act === 'clear') {
          table.clear();
          model.clear();
        }
        if (table.size !== model.size) return false;
      }
      return JSON.stringify([...table.values()].sort()) === JSON.stringify([...model.values()].sort());
    }), { numRuns: 60 });
    const big = new AddressMap<number>();
    for (let i = 0; i < 5000; i++) big.set(Address.v4(i * 256), i);
    t.ok(Array.from({ length: 5000 }, (_, i) => big.get(Address.v4(i * 256))).every((value, i) => value === i), 'it grows');
    t.end();
  });
  t.end();
});

t.test('Ethernet (IEEE 802.3 §3.2)', (t) => {
  fc.assert(fc.property(mac, mac, u16, (to, from, type) => {
    const frame = new Uint8Array(16).fill(0x5a);
    writeEthernet(frame, 1, to, from, type);
    return readMac(frame, 1) === to && readMac(frame, 7) === from && ((frame[13] << 8) | frame[14]) === type && frame[0] === 0x5a && frame[15] === 0x5a;
  }), RUNS);
  const six = new Uint8Array(6);
  writeMac(six, 0, 0x0180c200000e);
  t.equal(hexOf(six), '0180c200000e');
  t.equal(formatMac(0x02000000000a), '02:00:00:00:00:0a');
  t.same([0xffffffffffff, 0x01005e000001, 0x333300000001, 0x02000000000a, 0xfe0000000000].map(isGroupMac), [true, true, true, false, false]);
  t.end();
});

t.test('ARP (RFC 826)', (t) => {
  const message = fc.record({ operation: u16, senderMac: mac, sender: v4, targetMac: mac, target: v4 });
  const same = (a: Arp, b: Arp): boolean => a.operation === b.operation && a.senderMac === b.senderMac && a.targetMac === b.targetMac && a.sender.equals(b.sender) && a.target.equals(b.target);
  fc.assert(fc.property(message, bytes(30), (arp, padding) => same(parseArp(Uint8Array.from([...buildArp(arp), ...padding]))!, arp)), RUNS);
  fc.assert(fc.property(fc.oneof(bytes(40), mutated(message.map(buildArp))), (data) => {
    const parsed = parseArp(data);
    // What is taken is what would be built: no other hardware or protocol (packet reception: "?Do I have the hardware type in ar$hrd?").
    return parsed === undefined || hexOf(buildArp(parsed)) === hexOf(data.subarray(0, 28));
  }), RUNS);
  t.equal(
    hexOf(buildArp({ operation: 1, senderMac: 0x02000000000a, sender: ip('198.18.0.1'), targetMac: 0, target: ip('198.18.0.2') })),
    '0001080006040001' + '02000000000a' + 'c6120001' + '000000000000' + 'c6120002',
  );
  t.end();
});

t.test('IPv4 (RFC 791 §3.1)', (t) => {
  const header = fc.record({
    tos: u8, id: u16, dontFragment: fc.boolean(), moreFragments: fc.boolean(), fragmentOffset: fc.nat(8191).map((n) => 8 * n), ttl: u8, protocol: u8,
    source: v4, destination: v4, options: fc.nat(10).chain((n) => fc.uint8Array({ minLength: 4 * n, maxLength: 4 * n })), payload: bytes(100),
  });
  const build = (packet: Ipv4): Uint8Array => {
    const all = new Uint8Array(20 + packet.options.length + packet.payload.length);
    all.set(packet.payload, writeIpv4(all, 0, packet, packet.payload.length));
    return all;
  };
  const flat = (packet: Ipv4): string =>
    JSON.stringify({ ...packet, source: packet.source.toString(), destination: packet.destination.toString(), options: hexOf(packet.options), payload: hexOf(packet.payload) }, Object.keys(packet).sort());
  t.test('parse gives back what was built, whatever padding follows', (t) => {
    fc.assert(fc.property(header, bytes(20), (packet, padding) => {
      const parsed = parseIpv4(Uint8Array.from([...build(packet), ...padding]));
      return typeof parsed !== 'string' && flat(parsed) === flat(packet);
    }), RUNS);
    t.end();
  });
  t.test('anything is taken whole or refused; views stay inside; options end', (t) => {
    let taken = 0;
    fc.assert(fc.property(fc.oneof(bytes(80), mutated(header.map(build)), header.map(build)), (data) => {
      const { view, holds } = surrounded(data);
      const parsed = parseIpv4(view);
      if (typeof parsed === 'string') return true;
      taken++;
      const found = checkOptions(parsed.options);
      const badAt = typeof found === 'object' ? found.badAt : 20;
      return holds(parsed.options) && holds(parsed.payload) && badAt >= 20 && badAt < 60 && copiedOptions(parsed.options).length % 4 === 0;
    }), { numRuns: 1500 });
    t.ok(taken > 100, `${taken} were taken`);
    t.end();
  });
  t.test('a header of others: its checksum, and each fault by its name', (t) => {
    // The header that textbooks and RFC 1071 implementations are checked with: 192.168.0.1 to 192.168.0.199, checksum b861.
    const known = bytesOf('45000073000040004011b861c0a80001c0a800c7');
    const packet = Uint8Array.from([...known, ...new Uint8Array(0x73 - 20)]);
    const parsed = parseIpv4(packet) as Ipv4;
    t.match(parsed, { dontFragment: true, moreFragments: false, ttl: 64, protocol: 17, fragmentOffset: 0 });
    t.equal(hexOf(build(parsed)), hexOf(packet));
    const faulty = (change: (p: Uint8Array) => void): unknown => {
      const other = packet.slice();
      change(other);
      return parseIpv4(other);
    };
    t.equal(parseIpv4(packet.subarray(0, 19)), 'truncated');
    t.equal(parseIpv4(packet.subarray(0, packet.length - 1)), 'truncated');
    t.equal(faulty((p) => (p[0] = 0x65)), 'badVersion');
    t.equal(faulty((p) => (p[0] = 0x44)), 'badHeader');
    t.equal(faulty((p) => p.set([0, 19], 2)), 'badHeader');
    t.equal(faulty((p) => p[8]--), 'badChecksum', 'RFC 1122 §3.2.1.2');
    t.end();
  });
  t.test('RFC 791 §3.1: options whole, routes told apart, the copied ones kept', (t) => {
    t.equal(checkOptions(bytesOf('')), 'ok');
    t.equal(checkOptions(bytesOf('01010100ff')), 'ok', 'nothing counts behind the end of options');
    t.equal(checkOptions(bytesOf('94040000')), 'ok', 'router alert');
    t.equal(checkOptions(bytesOf('01070300')), 'ok', 'record route without room');
    t.same(checkOptions(bytesOf('01010107')), { badAt: 23 }, 'a kind without a length');
    t.same(checkOptions(bytesOf('01070000')), { badAt: 21 }, 'a length below 2 would never end');
    t.same(checkOptions(bytesOf('07090400')), { badAt: 20 }, 'longer than the header');
    t.equal(checkOptions(bytesOf('830704c6120001')), 'sourceRoute');
    t.equal(checkOptions(bytesOf('890704c6120001')), 'sourceRoute');
    t.equal(hexOf(copiedOptions(bytesOf('0107030494040000'))), '94040000');
    t.equal(hexOf(copiedOptions(bytesOf('820b000000000000000000' + '00'))), '820b00000000000000000000');
    t.end();
  });
  t.end();
});

const extension = fc.oneof(
  fc.record({ kind: fc.constantFrom(0, 60), data: fc.nat(3).chain((n) => fc.constant(Uint8Array.from([1, 8 * n + 4, ...new Uint8Array(8 * n + 4)]))) }),
  fc.record({ kind: fc.constant(43), data: fc.nat(2).chain((n) => fc.uint8Array({ minLength: 8 * n + 6, maxLength: 8 * n + 6 })).map((d) => Uint8Array.from([d[0], 0, ...d.subarray(2)])) }),
  fc.record({ kind: fc.constantFrom(0, 43, 60), data: fc.nat(2).chain((n) => fc.uint8Array({ minLength: 8 * n + 6, maxLength: 8 * n + 6 })) }),
);

/** Extension headers in order, then `protocol` with `payload`; the first header's number is returned with the bytes. */
function chain(headers: readonly { kind: number; data: Uint8Array }[], protocol: number, payload: Uint8Array): { first: number; bytes: Uint8Array } {
  const parts = headers.map(({ data }, i) => [headers[i + 1]?.kind ?? protocol, (data.length + 2) / 8 - 1, ...data]);
  return { first: headers[0]?.kind ?? protocol, bytes: Uint8Array.from([...parts.flat(), ...payload]) };
}

t.test('IPv6 (RFC 8200)', (t) => {
  const header = fc.record({ trafficClass: u8, flowLabel: fc.nat(0xfffff), nextHeader: u8, hopLimit: u8, source: v6, destination: v6, payload: bytes(100) });
  const build = (packet: Ipv6): Uint8Array => {
    const all = new Uint8Array(40 + packet.payload.length);
    all.set(packet.payload, writeIpv6(all, 0, packet, packet.payload.length));
    return all;
  };
  t.test('§3: parse gives back what was built, whatever padding follows', (t) => {
    fc.assert(fc.property(header, bytes(20), (packet, padding) => {
      const parsed = parseIpv6(Uint8Array.from([...build(packet), ...padding]));
      return typeof parsed !== 'string' && hexOf(build(parsed)) === hexOf(build(packet)) && parsed.flowLabel === packet.flowLabel && parsed.trafficClass === packet.trafficClass;
    }), RUNS);
    t.equal(parseIpv6(new Uint8Array(39)), 'truncated');
    t.equal(parseIpv6(ip6(17, new Uint8Array(9)).subarray(0, 48)), 'truncated');
    t.equal(parseIpv6(ip4(17, new Uint8Array(30))), 'badVersion');
    t.equal(hexOf(ip6(58, bytesOf('8000'), { trafficClass: 0xab, flowLabel: 0xcdef1, hopLimit: 255 })), '6abcdef100023aff' + 'fd00' + '00'.repeat(13) + '02' + 'fd00' + '00'.repeat(13) + '01' + '8000');
    t.end();
  });
  t.test('§4: a chain of known headers leads to the upper layer', (t) => {
    const padded = fc.array(fc.nat(3).map((n) => ({ kind: 60, data: Uint8Array.from([1, 8 * n + 4, ...new Uint8Array(8 * n + 4)]) })), { maxLength: 5 });
    fc.assert(fc.property(fc.boolean(), padded, bytes(40), (hop, rest, payload) => {
      const headers = [...(hop ? [{ kind: 0, data: Uint8Array.from([5, 2, 0, 0, 1, 0]) }] : []), ...rest];
      const { first, bytes: all } = chain(headers, 17, payload);
      const packet = ip6(first, all);
      const found = walkExtensions(packet, first, 40, packet.length);
      const before = headers.slice(0, -1).reduce((sum, h) => sum + h.data.length + 2, 40);
      return found.kind === 'upper' && found.protocol === 17 && found.at === packet.length - payload.length && found.previousAt === (headers.length === 0 ? 6 : before);
    }), RUNS);
    t.end();
  });
  t.test('§4.2 to §4.5: what an unknown option or header asks for', (t) => {
    const walk = (first: number, hex: string): unknown => {
      const packet = ip6(first, bytesOf(hex));
      return walkExtensions(packet, first, 40, packet.length);
    };
    const option = (type: string): unknown => walk(60, `1100${type}0200000100`.padEnd(16, '0'));
    t.match(option('1e'), { kind: 'upper', protocol: 17, at: 48 }, '00: skip');
    t.same(option('5e'), { kind: 'drop' }, '01: discard');
    t.same(option('9e'), { kind: 'problem', code: 2, pointer: 42, always: true }, '10: discard and report');
    t.same(option('de'), { kind: 'problem', code: 2, pointer: 42, always: false }, '11: discard and report, but not to a group');
    t.same(walk(60, '1100010500000000'), { kind: 'drop' }, 'an option that hangs over the end of its header');
    t.same(walk(60, '1102010400000000'), { kind: 'drop' }, 'a header that hangs over the end of the packet');
    t.same(walk(60, '0000010400000000' + '1100010400000000'), { kind: 'problem', code: 1, pointer: 40, always: false }, '§4.1: hop-by-hop options later than first');
    t.same(walk(43, '1102000100000000' + '00'.repeat(16)), { kind: 'problem', code: 0, pointer: 42, always: false }, '§4.4: segments left of a routing header unknown here');
    t.match(walk(43, '1102000000000000' + '00'.repeat(16)), { kind: 'upper', protocol: 17, at: 64 }, '§4.4: none left');
    t.match(walk(44, '1100010900000007' + '0000'), { kind: 'fragment', at: 48, headerAt: 40, previousAt: 6, fragment: { nextHeader: 17, offset: 264, more: true, id: 7 } });
    t.same(walk(44, '11000109'), { kind: 'drop' });
    t.same(walk(59, '00'), { kind: 'drop' }, '§4.7: nothing follows');
    t.same(walk(60, '3c00010400000000'.repeat(100)), { kind: 'drop' }, 'a hundred headers');
    t.end();
  });
  t.test('§4.5: fragment headers', (t) => {
    fc.assert(fc.property(u8, fc.nat(8191), fc.boolean(), u32, (nextHeader, units, more, id) => {
      const room = new Uint8Array(8);
      const written = { nextHeader, offset: 8 * units, more, id };
      writeFragment(room, 0, written);
      return JSON.stringify(parseFragment(room)) === JSON.stringify(written);
    }), RUNS);
    t.end();
  });
  t.test('anything is walked to an end inside the packet', (t) => {
    const anyChain = fc.tuple(fc.array(extension, { maxLength: 6 }), fc.oneof(u8, fc.constantFrom(17, 44, 59)), bytes(40)).map(([headers, protocol, payload]) => {
      const { first, bytes: all } = chain(headers, protocol, payload);
      return ip6(first, all);
    });
    const kinds = new Set<string>();
    fc.assert(fc.property(fc.oneof(anyChain, mutated(anyChain), mutated(header.map(build)), bytes(100)), (data) => {
      const { view, holds } = surrounded(data);
      const parsed = parseIpv6(view);
      if (typeof parsed === 'string') return true;
      const end = 40 + parsed.payload.length;
      const found = walkExtensions(view, parsed.nextHeader, 40, end);
      kinds.add(found.kind);
      if (!holds(parsed.payload)) return false;
      if (found.kind === 'upper' || found.kind === 'fragment') return found.at >= 40 && found.at <= end && found.previousAt >= 6 && found.previousAt < end;
      return found.kind === 'drop' || (found.pointer >= 6 && found.pointer < end);
    }), { numRuns: 3000 });
    t.same([...kinds].sort(), ['drop', 'fragment', 'problem', 'upper']);
    t.end();
  });
  t.end();
});

t.test('ICMP (RFC 792, RFC 4443 §2.1)', (t) => {
  const message = fc.record({ type: u8, code: u8, rest: u32, body: bytes(60) });
  fc.assert(fc.property(message, u32, (icmp, pseudo) => {
    const parsed = parseIcmp(buildIcmp(icmp, pseudo), pseudo);
    return parsed !== undefined && parsed.type === icmp.type && parsed.code === icmp.code && parsed.rest === icmp.rest && hexOf(parsed.body) === hexOf(icmp.body);
  }), RUNS);
  fc.assert(fc.property(fc.oneof(bytes(60), mutated(message.map((icmp) => buildIcmp(icmp, 0)))), (data) => {
    const { view, holds } = surrounded(data);
    const parsed = parseIcmp(view, 0);
    return parsed === undefined || (holds(parsed.body) && fold(sumBytes(data, 0, data.length)) === 0xffff);
  }), RUNS);
  t.equal(hexOf(buildIcmp({ type: 8, code: 0, rest: 0x00010001, body: new Uint8Array(0) }, 0)), '0800f7fd00010001', 'an empty echo request 1/1');
  // RFC 1122 §3.2.2, RFC 4443 §2.1.
  t.same(Array.from({ length: 256 }, (_, type) => type).filter((type) => isErrorType(false, type)), [3, 4, 5, 11, 12]);
  t.same(Array.from({ length: 256 }, (_, type) => type).filter((type) => isErrorType(true, type)), Array.from({ length: 128 }, (_, type) => type));
  t.end();
});

t.test('neighbour discovery (RFC 4861 §4)', (t) => {
  const lifetime = fc.oneof(fc.nat(0xfffffffe), fc.constant(Infinity));
  const prefix = fc.record({ prefix: v6, length: fc.nat(128), onLink: fc.boolean(), autonomous: fc.boolean(), validS: lifetime, preferredS: lifetime });
  const options = fc.record({ sourceMac: mac, targetMac: mac, mtu: u32, prefixes: fc.array(prefix, { maxLength: 3 }) }, { requiredKeys: ['prefixes'] }) as fc.Arbitrary<NdOptions>;
  const flat = (o: NdOptions): string => JSON.stringify([o.sourceMac, o.targetMac, o.mtu, o.prefixes.map((p) => [p.prefix.toString(), p.length, p.onLink, p.autonomous, String(p.validS), String(p.preferredS)])]);
  t.test('parse gives back what was built', (t) => {
    fc.assert(fc.property(v6, options, (target, o) => {
      const parsed = parseNeighbour(buildNeighbour(target, o));
      return parsed !== undefined && parsed.target.equals(target) && flat(parsed.options) === flat(o);
    }), RUNS);
    fc.assert(fc.property(u8, u16, u32, u32, options, (hopLimit, lifetimeS, reachableMs, retransMs, o) => {
      const { rest, body } = buildRouterAdvertisement({ hopLimit, lifetimeS, reachableMs, retransMs, options: o });
      const parsed = parseRouterAdvertisement(rest, body);
      return parsed !== undefined && JSON.stringify([parsed.hopLimit, parsed.lifetimeS, parsed.reachableMs, parsed.retransMs]) === JSON.stringify([hopLimit, lifetimeS, reachableMs, retransMs]) && flat(parsed.options) === flat(o);
    }), RUNS);
    t.end();
  });
  t.test('anything is taken or refused', (t) => {
    fc.assert(fc.property(fc.oneof(bytes(120), mutated(options.map(buildNdOptions)), mutated(fc.tuple(v6, options).map(([a, o]) => buildNeighbour(a, o)))), u32, (data, rest) => {
      const parsed = parseNdOptions(data);
      parseNeighbour(data);
      parseRouterAdvertisement(rest, data);
      return parsed === undefined || (data.length % 8 === 0 && parsed.prefixes.every(({ length }) => length <= 128));
    }), { numRuns: 2000 });
    t.end();
  });
  t.test('§4.6, §6.1, §7.1: an option of no length makes the message invalid; unknown ones are passed over', (t) => {
    t.equal(parseNdOptions(bytesOf('0100000000000000')), undefined);
    t.equal(parseNdOptions(bytesOf('0102000000000000')), undefined, 'longer than the message');
    t.equal(parseNdOptions(bytesOf('01')), undefined);
    t.same(parseNdOptions(bytesOf('0d01ffffffffffff' + '010102000000000b')), { prefixes: [], sourceMac: 0x02000000000b });
    t.equal(hexOf(buildNdOptions({ targetMac: 0x02000000000b, prefixes: [] })), '020102000000000b');
    t.equal(
      hexOf(buildNdOptions({ mtu: 1500, prefixes: [{ prefix: ip('fd00:1::'), length: 64, onLink: true, autonomous: true, validS: Infinity, preferredS: 3600 }] })),
      '05010000000005dc' + '030440c0ffffffff00000e1000000000' + 'fd000001000000000000000000000000',
    );
    t.end();
  });
  t.end();
});

t.test('UDP (RFC 768)', (t) => {
  const zeros = ip('198.18.0.1');
  const addresses = new Uint8Array(8);
  zeros.write(addresses, 0);
  zeros.write(addresses, 4);
  const pseudoOf = sumPseudo(addresses, 0, 4, 17, 0);
  t.test('parse gives back what was built; a checksum of 0 is sent as ffff', (t) => {
    fc.assert(fc.property(u16, u16, bytes(100), fc.boolean(), bytes(9), (sourcePort, destinationPort, payload, v6, padding) => {
      const segment = new Uint8Array(8 + payload.length + padding.length);
      segment.set(payload, 8);
      segment.set(padding, 8 + payload.length);
      writeUdp(segment, 0, sourcePort, destinationPort, payload.length, pseudoOf);
      const parsed = parseUdp(segment, pseudoOf, v6, false);
      return typeof parsed !== 'string' && parsed.sourcePort === sourcePort && parsed.destinationPort === destinationPort && hexOf(parsed.payload) === hexOf(payload) && (segment[6] | segment[7]) !== 0;
    }), RUNS);
    // Payload chosen so that the sum is all ones.
    const segment = new Uint8Array(10);
    writeUdp(segment, 0, 1, 2, 2, pseudoOf);
    segment.set(segment.subarray(6, 8), 8);
    writeUdp(segment, 0, 1, 2, 2, pseudoOf);
    t.equal(hexOf(segment.subarray(6, 8)), 'ffff');
    t.end();
  });
  t.test('each fault by its name', (t) => {
    const segment = udpSegment('198.18.0.1', '198.18.0.1', 1, 2, bytesOf('010203'));
    const changed = (change: (s: Uint8Array) => void, v6 = false, verified = false): unknown => {
      const other = segment.slice();
      change(other);
      return parseUdp(other, pseudoOf, v6, verified);
    };
    t.match(changed(() => undefined), { sourcePort: 1, destinationPort: 2 });
    t.equal(parseUdp(segment.subarray(0, 7), pseudoOf, false, false), 'truncated');
    t.equal(changed((s) => (s[5] = 7)), 'truncated', 'a length below the header');
    t.equal(changed((s) => (s[5] = 12)), 'truncated', 'a length beyond the packet');
    t.equal(changed((s) => (s[8] ^= 1)), 'badChecksum');
    t.match(changed((s) => (s[8] ^= 1), false, true), { destinationPort: 2 }, 'the card has looked already');
    t.match(changed((s) => s.set([0, 0], 6)), { destinationPort: 2 }, 'no checksum');
    t.equal(changed((s) => s.set([0, 0], 6), true), 'badChecksum', 'RFC 8200 §8.1: not in IPv6');
    t.equal(changed((s) => s.set([0, 0], 6), true, true), 'badChecksum', 'nor when the card says that it is fine');
    t.end();
  });
  t.test('anything is taken or refused', (t) => {
    fc.assert(fc.property(fc.oneof(bytes(60), mutated(bytes(30).map((p) => udpSegment('198.18.0.1', '198.18.0.1', 1, 2, p)))), fc.boolean(), fc.boolean(), (data, v6, verified) => {
      const { view, holds } = surrounded(data);
      const parsed = parseUdp(view, pseudoOf, v6, verified);
      return typeof parsed === 'string' || holds(parsed.payload);
    }), { numRuns: 1500 });
    t.end();
  });
  t.end();
});
