import { type KnCube } from './cube/kncube.js';
import { MAX_HOST, MAX_MESSAGE_BYTES } from './transport.js';

//  0        2    3    4        6  7  8          12            16          20
//  ┌────────┬────┬────┬────────┬──┬──┬──────────┬─────────────┬───────────┬─────────
//  │ "kc"   │ver.│type│ length │k │n │ from     │ incarnation │ sequence  │ body …
//  └────────┴────┴────┴────────┴──┴──┴──────────┴─────────────┴───────────┴─────────
//
// Numbers lie in network order. `incarnation` is the id of the sender's lease in the directory: a host that starts anew has a higher one.
// `sequence` counts the sender's messages to this receiver in this incarnation, so that what comes twice is known. Times are in
// microseconds modulo 2^32; where a time is unknown, UNKNOWN stands. A body is fields at fixed offsets, some with a list or a payload behind.

const MAGIC = 0x6b63;
const VERSION = 1;

export const UNKNOWN = 0xffffffff;

/** Offsets of the header's fields. */
export const Header = { type: 3, length: 4, k: 6, n: 7, from: 8, incarnation: 12, sequence: 16, bytes: 20 } as const;

/** Is alive; and, of the last such message that came from the receiver: when it was sent, and how long ago it came (as DLSR in RFC 3550 §6.4.1). */
export const Heartbeat = { type: 1, sentUs: 20, echoUs: 24, heldUs: 28, identifiers: 32, isAnswer: 34, bytes: 36 } as const;
/** The sender holds `mine`, whose neighbour `yours` the receiver should hold. */
export const Hello = { type: 2, mine: 20, yours: 24, bytes: 28 } as const;
/** Answer to Hello: so does the receiver of it; `mine` and `yours` are the answering host's and the asking one's. */
export const HelloAck = { type: 3, mine: 20, yours: 24, bytes: 28 } as const;
/** The sender does not hold `identifier`, of which it was asked. */
export const NotHeld = { type: 4, identifier: 20, bytes: 24 } as const;
/** The sender would like some of the receiver's identifiers. */
export const Join = { type: 5, bytes: 20 } as const;
/** Answer to Join: nothing to give; `host` might have, NO_HOST if the sender knows of none. */
export const Redirect = { type: 6, host: 20, bytes: 24 } as const;
/** `identifier` stands under the receiver's name in the directory now; the holders of its neighbours by port, NO_HOST where unknown. */
export const Handover = { type: 7, identifier: 20, count: 24, holders: 28, bytes: 28, item: 4 } as const;
export const HandoverAck = { type: 8, identifier: 20, bytes: 24 } as const;
/** Asks to be a child in a stream's tree. `rank`: hops to go from the sender to `root`. `milliRate`: messages it wants in 1,000 s; `subscribers`, `late`: how many there are, and miss their bound, here and below; `slackUs`: by how much a message may come later before one of the others does, UNKNOWN if that harms none. A probe asks only how it would be. */
export const Graft = { type: 9, channel: 20, publisher: 24, version: 28, root: 32, rank: 36, isProbe: 38, milliRate: 40, subscribers: 44, late: 48, slackUs: 52, bytes: 56 } as const;
/** Answer to Graft, and told when it changes: how long a message has taken when the sender passes it on, and the hosts above the sender. */
export const Grafted = { type: 10, channel: 20, publisher: 24, version: 28, rank: 32, isOnTree: 34, count: 35, delayUs: 36, isProbe: 40, ancestors: 44, bytes: 44, item: 4 } as const;
/** Answer to Graft: no. */
export const Refused = { type: 11, channel: 20, publisher: 24, version: 28, reason: 32, bytes: 36 } as const;
/** The sender is no child any more. */
export const Prune = { type: 12, channel: 20, publisher: 24, bytes: 28 } as const;
/** The receiver, a child, should find another parent; the sender serves it until then if it can. */
export const Rejoin = { type: 13, channel: 20, publisher: 24, bytes: 28 } as const;
/** A message of a stream. `ageUs`: since it was published, by the sum of what each hop measured. */
export const Data = { type: 14, channel: 20, publisher: 24, version: 28, sequence: 32, ageUs: 36, bytes: 40, item: 1, payload: 40 } as const;
/** Subscribe(S, P, d) of the exchange of identifiers: the sender S, with `mine`, asks the holder P of `near`. `isRefused`: it asks again, as the neighbour that P chose has refused. */
export const Exchange = { type: 15, channel: 20, publisher: 24, mine: 28, near: 32, costUs: 36, root: 40, depth: 44, isImproved: 45, isRefused: 46, bytes: 48 } as const;
/** Answer to Exchange: the places beside `near` that may be asked for, or asked; by the published rule one of them, for `isSwap`. `delayUs`: how long a message has taken when the sender passes it on. Items are a host, the identifier that it holds, the sender's cost to it, and how many subscribers are behind it if it is a child of the sender. */
export const Exchanged = { type: 16, channel: 20, publisher: 24, near: 28, delayUs: 32, count: 36, isSwap: 37, places: 40, bytes: 40, item: 16 } as const;
/**
 * The sender would give `mine` for `yours`. Its stream takes `delayUs` now, would take `thenUs`, and may take `boundUs`. Items: first `ways` hosts that are, or
 * might be, its parents, and how long a message has taken when they pass it on; then its children, what they say of those behind them
 * (Graft), and the sender's cost to them. Yes is a Handover of `yours`.
 */
export const Swap = { type: 17, channel: 20, publisher: 24, mine: 28, yours: 32, delayUs: 36, thenUs: 40, boundUs: 44, count: 48, ways: 49, isImproved: 50, places: 52, bytes: 52, item: 20 } as const;
/** Answer to Swap: no. */
export const SwapRefused = { type: 18, mine: 20, yours: 24, reason: 28, bytes: 32 } as const;
/** Before an answer to Swap: how far are these hosts from the sender of it? They are the children of who holds `mine`. */
export const Survey = { type: 19, mine: 20, yours: 24, count: 28, hosts: 32, bytes: 32, item: 4 } as const;
/** Answer to Survey: the cost to each, in that order; UNKNOWN to those that didn't answer. */
export const Surveyed = { type: 20, mine: 20, yours: 24, count: 28, costs: 32, bytes: 32, item: 4 } as const;

/** Most hosts in a Grafted's list. */
export const MAX_ANCESTORS = 255;
/** The longest payload of a Data message, in bytes. */
export const MAX_PAYLOAD_BYTES = MAX_MESSAGE_BYTES - Data.bytes;

/** What a type of messages looks like. */
export interface Layout {
  readonly type: number;
  readonly bytes: number;
  /** Bytes of each item of the list at the end. */
  readonly item?: number;
  /** Offset of that list's length; where there is none it goes to the message's end. */
  readonly count?: number;
}

/** Of all types, the first one's is 1. */
export const LAYOUTS: readonly Layout[] = [
  Heartbeat, Hello, HelloAck, NotHeld, Join, Redirect, Handover, HandoverAck, Graft, Grafted, Refused, Prune, Rejoin, Data, Exchange, Exchanged, Swap, SwapRefused, Survey, Surveyed,
];
const FIXED_BYTES = Uint16Array.from([0, ...LAYOUTS.map(({ bytes }) => bytes)]);
const ITEM_BYTES = Uint8Array.from([0, ...LAYOUTS.map(({ item }) => item ?? 0)]);
/** 0: there is none. */
const COUNT_OFFSETS = Uint8Array.from([0, ...LAYOUTS.map(({ count }) => count ?? 0)]);

/** Why a message was dropped: what is wrong with its form. */
export type Malformation = 'short' | 'magic' | 'version' | 'type' | 'length' | 'shape' | 'sender';

/**
 * What is wrong with the form of the `length` bytes at `at`, undefined if nothing is: then all fields of its type are there, and its list is as
 * long as it says. What the fields hold is for the handler to judge.
 */
export function malformation(view: DataView, at: number, length: number, cube: KnCube): Malformation | undefined {
  if (length < Header.bytes) return 'short';
  if (view.getUint16(at) !== MAGIC) return 'magic';
  if (view.getUint8(at + 2) !== VERSION) return 'version';
  const type = view.getUint8(at + Header.type);
  if (type === 0 || type > LAYOUTS.length) return 'type';
  const fixed = FIXED_BYTES[type];
  if (view.getUint16(at + Header.length) !== length || length < fixed || length > MAX_MESSAGE_BYTES) return 'length';
  const item = ITEM_BYTES[type];
  if (item === 0) {
    if (length !== fixed) return 'length';
  } else if (type === Handover.type) {
    if (length !== fixed + item * view.getUint32(at + Handover.count)) return 'length';
  } else if (COUNT_OFFSETS[type] > 0) {
    if (length !== fixed + item * view.getUint8(at + COUNT_OFFSETS[type])) return 'length';
  }
  if (view.getUint8(at + Header.k) !== (cube.k & 0xff) || view.getUint8(at + Header.n) !== cube.n) return 'shape';
  if (view.getUint32(at + Header.from) > MAX_HOST || view.getUint32(at + Header.incarnation) === 0) return 'sender';
  return undefined;
}

/** A slack as it stands in a message: Infinity where UNKNOWN does. */
export function slackIn(field: number): number {
  return field === UNKNOWN ? Infinity : field;
}

/** What messages about a stream begin with, all in one place. */
export const Name = { channel: 20, publisher: 24 } as const;

export function writeName(view: DataView, at: number, { channel, publisher }: { channel: number; publisher: number }): void {
  view.setUint32(at + Name.channel, channel);
  view.setUint32(at + Name.publisher, publisher);
}

export function readName(view: DataView, at: number): { channel: number; publisher: number } {
  return { channel: view.getUint32(at + Name.channel), publisher: view.getUint32(at + Name.publisher) };
}

/** Writes all of a header but its sequence, which differs by receiver. */
export function writeHeader(view: DataView, at: number, type: number, length: number, cube: KnCube, from: number, incarnation: number): void {
  view.setUint32(at, (MAGIC << 16) | (VERSION << 8) | type);
  view.setUint16(at + Header.length, length);
  view.setUint8(at + Header.k, cube.k);
  view.setUint8(at + Header.n, cube.n);
  view.setUint32(at + Header.from, from);
  view.setUint32(at + Header.incarnation, incarnation);
}
