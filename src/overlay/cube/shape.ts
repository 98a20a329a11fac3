import { invalid } from '../../base/index.js';

/** The parameters of a KnCube. */
export interface Shape {
  readonly k: number;
  readonly n: number;
}

/** Where the published rule still stays within the 2^24 identifiers of a KnCube: above, it asks for 3^16. */
const MOST_HOSTS = 2 ** 21;
const MOST_K = 256;
const MOST_IDENTIFIERS = 2 ** 24;

/** A(k, n), the mean distance with the node itself: n⌊k²/4⌋/k. The quotient is rounded once, so that equal ones come out equal. */
function meanDistance(k: number, n: number): number {
  return (n * Math.floor((k * k) / 4)) / k;
}

/**
 * The shape for so many hosts by the published rule (Fry & West 2004): among few cubes, the one with the most identifiers that has no longer mean distance than
 * the smallest hypercube. It starts there, at 2^i ≥ hosts, and goes on to ever smaller n; k grows by one at the first step, and again after each cube accepted: one
 * with a mean distance at most the least so far, and more identifiers than any so far. Where these outnumber the hosts, a host holds several.
 *
 * For 1 host, of which the rule says nothing: 2x1. Throws ERR_INVALID_ARGUMENT unless `hosts` is an integer from 1 to 2^21.
 */
export function chooseShape(hosts: number): Shape {
  if (!Number.isInteger(hosts) || hosts < 1 || hosts > MOST_HOSTS) throw invalid('hosts', hosts, `an integer from 1 to ${MOST_HOSTS}`);
  const hypercube = smallestN(2, hosts);
  let shape = { k: 2, n: hypercube };
  let least = meanDistance(2, hypercube);
  let k = 3;
  for (let n = hypercube - 1; n >= 1; n--) {
    if (meanDistance(k, n) > least || k ** n <= shape.k ** shape.n) continue;
    shape = { k, n };
    least = meanDistance(k, n);
    k++;
  }
  return shape;
}

/**
 * The shape of the least mean distance A(k, n) with an identifier for each host; of several the one with the fewest identifiers, of these (2x2j and 4xj are the same graph) the
 * one with the smallest k. By trying them all. Throws ERR_INVALID_ARGUMENT unless `hosts` is an integer from 1 to 2^24.
 */
export function leastMeanShape(hosts: number): Shape {
  if (!Number.isInteger(hosts) || hosts < 1 || hosts > MOST_IDENTIFIERS) throw invalid('hosts', hosts, `an integer from 1 to ${MOST_IDENTIFIERS}`);
  let best = { k: 2, n: smallestN(2, hosts) };
  for (let k = 3; k <= MOST_K; k++) {
    const n = smallestN(k, hosts);
    if (k ** n > MOST_IDENTIFIERS) continue;
    const longer = meanDistance(k, n) - meanDistance(best.k, best.n);
    if (longer < 0 || (longer === 0 && k ** n < best.k ** best.n)) best = { k, n };
  }
  return best;
}

/** The least n, 1 or more, with kⁿ ≥ hosts. */
function smallestN(k: number, hosts: number): number {
  let n = 1;
  while (k ** n < hosts) n++;
  return n;
}
