/**
 * The exchange of logical identifiers: a subscriber takes a place in the cube nearer to its publisher, and whoever was there takes the subscriber's.
 * Pure rules, one step each, for the node at which a request is: the publisher's first (depth 0), then, step by step, others'. Whoever follows them
 * does what they say: asks for the swap, or hands the request on.
 *
 * A step is one number: STOP, or a port of this node with whose neighbour the subscriber is to swap, or that port with DESCEND added: the neighbour
 * there is to go on with the request, one deeper.
 */
export const STOP = -1;
export const DESCEND = 0x100;

/**
 * The published rule. Subscribe(S, P, d): if d = D, stop. Of P's neighbours take i with the largest cost(P, i). If cost(S, P) < cost(i, P), S and i
 * swap; otherwise another neighbour, the one with the least cost, goes on at d + 1 in the place of P.
 * Source: Fry & West, "Adaptive routing of QoS-constrained media streams over scalable overlay topologies", RTAS 2004, as recalled. There every
 * subscriber asks, once, whether it is late or not. With several publishers i refuses where breaksBound() says so for one of its own; the request goes
 * on with refusedStep().
 *
 * @param costsUs this node's costs to its neighbours, by port, from index `at`; Infinity for those that are out of question: dead ones, publishers (they
 * keep their identifiers) and where the request came from
 * @param subscriberUs cost(S, P)
 */
export function publishedStep(costsUs: ArrayLike<number>, at: number, degree: number, subscriberUs: number, depth: number, maxDepth: number): number {
  if (depth >= maxDepth) return STOP;
  const farthest = farthestPort(costsUs, at, degree);
  if (farthest >= 0 && subscriberUs < costsUs[at + farthest]) return farthest;
  return refusedStep(costsUs, at, degree, depth, maxDepth);
}

/** What follows where the neighbour that publishedStep() chose has refused. */
export function refusedStep(costsUs: ArrayLike<number>, at: number, degree: number, depth: number, maxDepth: number): number {
  if (depth >= maxDepth) return STOP;
  const nearest = nearestPort(costsUs, at, degree, farthestPort(costsUs, at, degree));
  return nearest < 0 ? STOP : nearest + DESCEND;
}

/**
 * The improved rule. It differs in five things, all of which the nodes involved can know by themselves:
 *
 * - Only a subscriber that misses its bound asks. Others would take the places that it needs.
 * - What counts is not who is how far from P but what the swap changes for those it concerns: the two, and all who receive through one of them. Each
 *   host knows, summed up along its branch with the heartbeats, how many subscribers it has behind it, and how many of these are late. Delay saved
 *   is counted (moverGainUs(), branchGainUs()) for each who is late, or would be; for the others a tenth.
 * - Of the neighbours one step farther from the publisher that with the greatest gain swaps, if any gains.
 * - If none, the request goes on where the subscriber is: to the one of them that is nearest to *it*, by its own measurement, not to the one nearest to
 *   P. The way leads towards its part of the network, as in Overcast (Jannotti et al. 2000) or NICE (Banerjee et al. 2002), where it has most to gain.
 * - Nobody's met bound is sacrificed: i refuses where breaksBound() says so, for the subscriber's other channels and for i's. As others choose their
 *   parents anew after a swap, what was foreseen may not come; at flow level both measure again, and the swap is undone if the asker is no better
 *   off, or a bound of i that was met is not.
 *
 * This is the rule at flow level. Between hosts (swaps.ts, offers.ts) the five hold, but for this: the asker chooses whom to ask next, by what it has been
 * told and has measured, nearest first, and takes a place beside the first host through which it would be in time; partners behind whom there are fewest
 * are asked first, and a refusal leads to the next one. i minds the bounds of all behind the two, by the slack that branches tell of. Who
 * has anyone in time by another stream doesn't move. A swap is not undone.
 *
 * That a swap changes places so that link costs fall, and only then, is Qiu et al.'s PROP ("Towards location-aware topology in both unstructured and
 * structured P2P systems", ICPP 2007); weights, bounds and the search along the tree are this rule's.
 *
 * Measured beside the published rule by `ringcube sim exchange` and `ringcube sim success`. Tried, and left, on hypercubes of 4,096 hosts: that all
 * subscribers ask (six to ten times the swaps, no more in time); that those in time count as much as the late (fewer in time); that the search goes on to
 * the full depth for the greatest gain of all (half as many messages again, hardly better); that a swap must bring the asker below its bound (as many in
 * time, the others several times as late).
 *
 * @param gainsUs what a swap with each neighbour gains, by port, from index `at`; 0 or less for one that refuses, or is out of question
 * @param costsUs the *subscriber's* costs to these neighbours, by port, from `at`; Infinity for those that are out of question: dead ones, and all that
 * are not one step farther from the publisher than this node
 */
export function improvedStep(gainsUs: ArrayLike<number>, costsUs: ArrayLike<number>, at: number, degree: number, depth: number, maxDepth: number): number {
  if (depth >= maxDepth) return STOP;
  let best = -1;
  for (let port = 0; port < degree; port++) {
    const gainUs = gainsUs[at + port];
    if (gainUs > 0 && (best < 0 || gainUs > gainsUs[at + best])) best = port;
  }
  if (best >= 0) return best;
  const nearest = nearestPort(costsUs, at, degree, -1);
  return nearest < 0 ? STOP : nearest + DESCEND;
}

/** What a µs saved is worth for a subscriber that is in time anyway, beside 1 for one that is late. */
const IN_TIME_WEIGHT = 0.1;

/** What a subscriber gains by a move that takes its delay from `delayUs` to `thenUs`. */
export function moverGainUs(delayUs: number, thenUs: number, boundUs: number): number {
  return (IN_TIME_WEIGHT + (Math.max(delayUs, thenUs) > boundUs ? 1 : 0)) * (delayUs - thenUs);
}

/** What a branch gains, `subscribers` of which `late` are late, where the delay of each falls by `savedUs`. */
export function branchGainUs(subscribers: number, late: number, savedUs: number): number {
  return (late + IN_TIME_WEIGHT * subscribers) * savedUs;
}

/** Whether a move from `delayUs` to `thenUs` breaks a bound that is met now. */
export function breaksBound(delayUs: number, thenUs: number, boundUs: number): boolean {
  return delayUs <= boundUs && thenUs > boundUs;
}

/** The port with the largest finite cost; −1 if there is none. The first of equals. */
function farthestPort(costsUs: ArrayLike<number>, at: number, degree: number): number {
  let farthest = -1;
  for (let port = 0; port < degree; port++) {
    const costUs = costsUs[at + port];
    if (costUs < Infinity && (farthest < 0 || costUs > costsUs[at + farthest])) farthest = port;
  }
  return farthest;
}

/** The port with the least finite cost, other than `except`; −1 if there is none. The first of equals. */
function nearestPort(costsUs: ArrayLike<number>, at: number, degree: number, except: number): number {
  let nearest = -1;
  for (let port = 0; port < degree; port++) {
    const costUs = costsUs[at + port];
    if (port !== except && costUs < Infinity && (nearest < 0 || costUs < costsUs[at + nearest])) nearest = port;
  }
  return nearest;
}
