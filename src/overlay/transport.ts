import { type Sleeper } from './event-loop.js';

/** The number of a host in the overlay, 0 to 2^26 − 1. Whoever starts it gives it, for as long as it lives; a transport knows where it is. */
export type HostNumber = number;

/** Stands for "no host" where a message has room for one. */
export const NO_HOST = 0xffffffff;

/** The highest number of a host. */
export const MAX_HOST = 2 ** 26 - 1;

/** Whether a host could have this number. */
export function isHostNumber(number: number): boolean {
  return Number.isInteger(number) && number >= 0 && number <= MAX_HOST;
}

/** The longest message, in bytes: what fits into an Ethernet frame behind IPv6 and UDP headers (RFC 8200 §3, RFC 768). */
export const MAX_MESSAGE_BYTES = 1452;

/**
 * Carries messages between hosts, like UDP: some get lost, some come twice or late, none comes changed.
 *
 * Messages are written and read where they lie, so that none costs an object: `begin()` says where the next one is to be written,
 * `send()` copies it from there, to as many hosts as one likes; what comes in is handed over as an offset, valid during that call.
 * Offsets count bytes in `bytes` and `view`, which are the same memory, the same for good.
 */
export interface Transport {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Offset of MAX_MESSAGE_BYTES bytes for the next message; they hold until the next call of begin(). */
  begin(): number;
  /** Sends the first `length` bytes from begin()'s offset to `to`. Never fails: what can't be sent is lost, and counted by the transport. */
  send(to: HostNumber, length: number): void;
}

/** What a transport serves: a host's overlay code. */
export interface Endpoint extends Sleeper {
  /** A message came; `from` is what the transport says, the message may say otherwise. */
  receive(from: HostNumber, at: number, length: number): void;
}
