import { invalid } from '../../base/index.js';
import { type HostNumber } from '../transport.js';
import { type KnCube } from './kncube.js';

// Who holds which identifiers, where there are more of these than hosts. At the start:
//
//   identifiers   0  1  2  3  4  5  6  7  8       blocks of neighbours: a block shares its high digits, so that many of a host's links lead to itself
//   hosts         0  0  1  1  2  2  2  3  3       each ⌊size/hosts⌋ or one more
//
// A host that joins takes half of another's; one that leaves hands its own to hosts beside them.

/** The first identifier of a host's block; that of the host after the last is the cube's size. `host` and `hosts` are integers, 0 ≤ host ≤ hosts ≤ size, not checked. */
export function firstIdentifier(size: number, hosts: number, host: number): number {
  return Math.floor((host * size) / hosts);
}

/** The host, 0 to hosts − 1, in whose block an identifier lies. Not checked, as above. */
export function initialHolder(size: number, hosts: number, identifier: number): number {
  // The last host whose block begins at or before: host · size / hosts < identifier + 1.
  return Math.floor(((identifier + 1) * hosts - 1) / size);
}

/**
 * Who gives at a join: of the host that the newcomer asked and those beside it the one that holds the most, of several the first. So a newcomer that asks at random
 * evens out what departures left (CAN, Ratnasamy et al. 2001, §3.7).
 *
 * @param held how many each candidate holds
 * @returns its index; −1 if none has two or more, so none to give
 */
export function chooseGiver(held: ArrayLike<number>): number {
  let giver = -1;
  let most = 1;
  for (let i = 0; i < held.length; i++) {
    if (held[i] <= most) continue;
    most = held[i];
    giver = i;
  }
  return giver;
}

/**
 * Which of a giver's identifiers go to a newcomer: the upper half in numeric order, rounded down. Blocks stay blocks: they are cut along a high dimension.
 *
 * @param identifiers what the giver holds, in any order; two or more, else throws ERR_INVALID_ARGUMENT
 * @returns new arrays, ascending: what it keeps, and what goes
 */
export function splitIdentifiers(identifiers: Int32Array): { kept: Int32Array; given: Int32Array } {
  if (identifiers.length < 2) throw invalid('identifiers', `${identifiers.length} of them`, '2 or more, for each host to hold one');
  const ascending = identifiers.toSorted();
  const keeps = (ascending.length + 1) >> 1;
  return { kept: ascending.slice(0, keeps), given: ascending.slice(keeps) };
}

/**
 * Who takes what at a departure: each identifier goes to the host beside it that holds the fewest by then, of several to the one of the lowest number. One with
 * none but the leaver's own beside it goes in a later round, when a neighbour of it has been handed on.
 *
 * @param identifiers what the leaver holds
 * @param holderOf who holds an identifier beside them, never asked for one of `identifiers`; undefined for a host that takes none, being dead or about to leave
 * @param heldBy how many a host holds now
 * @returns the taker of each of `identifiers`; undefined if there is nobody to take any
 */
export function handOn(
  cube: KnCube,
  identifiers: Int32Array,
  holderOf: (identifier: number) => HostNumber | undefined,
  heldBy: (host: HostNumber) => number,
): HostNumber[] | undefined {
  const takers = new Map<number, HostNumber | undefined>();
  for (const identifier of identifiers) takers.set(identifier, undefined);
  const held = new Map<HostNumber, number>();
  let waiting = [...identifiers];
  while (waiting.length > 0) {
    const left: number[] = [];
    const taken = new Map<number, HostNumber>();
    for (const identifier of waiting) {
      let taker: HostNumber | undefined;
      let fewest = Infinity;
      for (let port = 0; port < cube.degree; port++) {
        const neighbour = cube.neighbour(identifier, port);
        const host = takers.has(neighbour) ? takers.get(neighbour) : holderOf(neighbour);
        if (host === undefined) continue;
        const count = held.get(host) ?? heldBy(host);
        if (count > fewest || (count === fewest && host > taker!)) continue;
        taker = host;
        fewest = count;
      }
      if (taker === undefined) {
        left.push(identifier);
        continue;
      }
      taken.set(identifier, taker);
      held.set(taker, fewest + 1);
    }
    for (const [identifier, taker] of taken) takers.set(identifier, taker);
    if (left.length === waiting.length) return undefined;
    waiting = left;
  }
  return Array.from(identifiers, (identifier) => takers.get(identifier)!);
}
