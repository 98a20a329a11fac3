// Neighbour discovery messages (RFC 4861 §4): the bodies of ICMPv6 messages, behind their first 8 bytes.
import { Address } from '../../base/index.js';
import { type Mac, readMac, writeMac } from './ethernet.js';

const OptionType = { SourceMac: 1, TargetMac: 2, Prefix: 3, Mtu: 5 } as const;

export interface PrefixInformation {
  prefix: Address;
  length: number;
  onLink: boolean;
  autonomous: boolean;
  /** Infinity: for ever. */
  validS: number;
  preferredS: number;
}

export interface NdOptions {
  sourceMac?: Mac;
  targetMac?: Mac;
  mtu?: number;
  prefixes: PrefixInformation[];
}

const FOREVER = 0xffffffff;
const seconds = (value: number): number => (value === FOREVER ? Infinity : value);

function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

/** §4.6; undefined if an option has no length or hangs over the end: the message is invalid then (§6.1, §7.1). */
export function parseNdOptions(bytes: Uint8Array): NdOptions | undefined {
  const options: NdOptions = { prefixes: [] };
  for (let at = 0; at < bytes.length; ) {
    const length = 8 * bytes[at + 1];
    if (!(length > 0) || at + length > bytes.length) return undefined;
    switch (bytes[at]) {
      case OptionType.SourceMac:
        if (length === 8) options.sourceMac = readMac(bytes, at + 2);
        break;
      case OptionType.TargetMac:
        if (length === 8) options.targetMac = readMac(bytes, at + 2);
        break;
      case OptionType.Mtu:
        if (length === 8) options.mtu = word(bytes, at + 4);
        break;
      case OptionType.Prefix:
        if (length !== 32 || bytes[at + 2] > 128) break;
        options.prefixes.push({
          prefix: Address.read(bytes, at + 16, 6),
          length: bytes[at + 2],
          onLink: (bytes[at + 3] & 0x80) !== 0,
          autonomous: (bytes[at + 3] & 0x40) !== 0,
          validS: seconds(word(bytes, at + 4)),
          preferredS: seconds(word(bytes, at + 8)),
        });
        break;
      default: // §4.6: others are ignored
    }
    at += length;
  }
  return options;
}

export function buildNdOptions(options: NdOptions): Uint8Array {
  const bytes: number[] = [];
  const macOption = (type: number, mac: Mac | undefined): void => {
    if (mac === undefined) return;
    const option = new Uint8Array(8);
    option.set([type, 1]);
    writeMac(option, 2, mac);
    bytes.push(...option);
  };
  const be32 = (value: number): number[] => (value === Infinity ? [255, 255, 255, 255] : [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);
  macOption(OptionType.SourceMac, options.sourceMac);
  macOption(OptionType.TargetMac, options.targetMac);
  if (options.mtu !== undefined) bytes.push(OptionType.Mtu, 1, 0, 0, ...be32(options.mtu));
  for (const p of options.prefixes) {
    const address = new Uint8Array(16);
    p.prefix.write(address, 0);
    const flags = (p.onLink ? 0x80 : 0) | (p.autonomous ? 0x40 : 0);
    bytes.push(OptionType.Prefix, 4, p.length, flags, ...be32(p.validS), ...be32(p.preferredS), 0, 0, 0, 0, ...address);
  }
  return Uint8Array.from(bytes);
}

/** Of solicitation and advertisement (§4.3, §4.4): the target, then options. */
export interface NeighbourMessage {
  target: Address;
  options: NdOptions;
}

export function parseNeighbour(body: Uint8Array): NeighbourMessage | undefined {
  if (body.length < 16) return undefined;
  const options = parseNdOptions(body.subarray(16));
  return options === undefined ? undefined : { target: Address.read(body, 0, 6), options };
}

export function buildNeighbour(target: Address, options: NdOptions): Uint8Array {
  const tail = buildNdOptions(options);
  const body = new Uint8Array(16 + tail.length);
  target.write(body, 0);
  body.set(tail, 16);
  return body;
}

/** The advertisement's flags are the first bits of the ICMP header's second word (§4.4). */
export const AdvertisementFlag = { Router: 0x80000000, Solicited: 0x40000000, Override: 0x20000000 } as const;

/** §4.2: hop limit, flags and lifetime are in the ICMP header's second word. */
export interface RouterAdvertisement {
  hopLimit: number;
  lifetimeS: number;
  reachableMs: number;
  retransMs: number;
  options: NdOptions;
}

export function parseRouterAdvertisement(rest: number, body: Uint8Array): RouterAdvertisement | undefined {
  if (body.length < 8) return undefined;
  const options = parseNdOptions(body.subarray(8));
  if (options === undefined) return undefined;
  return { hopLimit: rest >>> 24, lifetimeS: rest & 0xffff, reachableMs: word(body, 0), retransMs: word(body, 4), options };
}

export function buildRouterAdvertisement(ra: RouterAdvertisement): { rest: number; body: Uint8Array } {
  const tail = buildNdOptions(ra.options);
  const body = new Uint8Array(8 + tail.length);
  for (const [at, value] of [[0, ra.reachableMs], [4, ra.retransMs]] as const) body.set([value >>> 24, value >>> 16, value >>> 8, value], at);
  body.set(tail, 8);
  return { rest: ((ra.hopLimit << 24) | ra.lifetimeS) >>> 0, body };
}
