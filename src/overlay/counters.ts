import { type Malformation } from './codec.js';

/** Why a message was dropped. */
export type DropCause =
  | Malformation
  /** Of an earlier incarnation of its sender. */
  | 'stale'
  /** It, or one of its number, came before. */
  | 'replayed'
  /** Its sender is one too many of those that we have nothing to do with. */
  | 'stranger'
  /** A host, identifier, rank or rate that can't be. */
  | 'range'
  /** It says what can't be true with what we know: a parent that would be its own child, identifiers that are no neighbours. */
  | 'contradiction'
  /** An answer that nobody waits for. */
  | 'unasked'
  /** Data of a stream, or from a host, that we don't get it from. */
  | 'unwanted'
  /** Data that came before, by another way. */
  | 'duplicate'
  /** This host has no lease. */
  | 'fenced';

/** What has happened at a host's overlay code since it was made. */
export interface OverlayCounters {
  readonly received: number;
  sent: number;
  /** Of `sent`: messages of streams. */
  dataSent: number;
  dropped: Record<DropCause, number>;
  /** Messages of streams not passed on to a child that wants fewer. */
  thinned: number;
  /** Payloads handed to subscriptions. */
  delivered: number;
  /** Peers that were held for dead; and of those how many turned out to be alive. */
  suspicions: number;
  recoveries: number;
  /** Identifiers that came, by which way, and went. */
  identifiers: { taken: number; received: number; given: number; lost: number };
  /** Parents found after the first one of each stream. */
  repairs: number;
  /** Swaps of identifiers done, and refused by the partner. */
  swaps: number;
  swapsRefused: number;
}

/** @param received it counts what comes: where it is at hand for each message */
export function makeCounters(received: () => number): OverlayCounters {
  return {
    get received() {
      return received();
    },
    sent: 0, dataSent: 0,
    dropped: {
      short: 0, magic: 0, version: 0, type: 0, length: 0, shape: 0, sender: 0,
      stale: 0, replayed: 0, stranger: 0, range: 0, contradiction: 0, unasked: 0, unwanted: 0, duplicate: 0, fenced: 0,
    },
    thinned: 0, delivered: 0, suspicions: 0, recoveries: 0,
    identifiers: { taken: 0, received: 0, given: 0, lost: 0 },
    repairs: 0, swaps: 0, swapsRefused: 0,
  };
}
