// overlay: a logical network of hosts in the form of a k-ary n-cube, and the streams on it. Pure over a Transport, a Clock and a Directory: no sockets here.
//
//     cube/        identifiers, routes, shapes: pure functions
//     node ──▶ peers          who is alive, how far away              peer (a row of numbers): detector, rtt, replay-window
//       │────▶ membership     identifiers held, and their neighbours  holding, lease-keeper ──▶ directory
//       │────▶ handover       identifiers that come and go
//       │────▶ trees          parents of each stream                  routes, children, tree-messages, stream
//       │────▶ delivery       its messages
//       │────▶ channels       publishers and subscribers              subscription
//       │────▶ bounds         is it in time?                          qos
//       └────▶ swaps          a nearer place                          search, places, offers, moves, exchange (the rules)
//     codec        the messages, byte by byte
export { Publication } from './channels.js';
export { Handover, Header, LAYOUTS, writeHeader } from './codec.js';
export { type DropCause, type OverlayCounters } from './counters.js';
export { chooseGiver, firstIdentifier, handOn, initialHolder, splitIdentifiers } from './cube/assignment.js';
export { KnCube } from './cube/kncube.js';
export { type LinkCosts, Router, type Routing, nextPortAround, portBack, productivePorts } from './cube/router.js';
export { type Shape, chooseShape, leastMeanShape } from './cube/shape.js';
export { DETECTOR_CELLS, Detector, type DetectorOptions } from './detector.js';
export { type Directory, type DirectoryFailure, type Entry, type Lease, MAX_KEY_CHARACTERS, type Swap, checkCas, checkKey, checkPrefix, checkTtl } from './directory.js';
export { EmbeddedDirectory, type EmbeddedDirectoryOptions } from './embedded-directory.js';
export { type Sleeper, runInEventLoop } from './event-loop.js';
export { DESCEND, STOP, branchGainUs, breaksBound, improvedStep, moverGainUs, publishedStep, refusedStep } from './exchange.js';
export { identifierKey } from './holding.js';
export { MAX_DRIFT } from './lease-keeper.js';
export { type Formation, OverlayNode, type OverlayOptions, type OverlayState } from './node.js';
export { HostShare, type HostShareOptions } from './qos.js';
export { Arrival, ReplayWindow } from './replay-window.js';
export { RTT_CELLS, RttEstimator, type RttOptions } from './rtt.js';
export { type Admission, type RefusalReason, Subscription, type SubscriptionCounters, type SubscriptionOptions } from './subscription.js';
export { type Endpoint, type HostNumber, MAX_HOST, MAX_MESSAGE_BYTES, NO_HOST, type Transport } from './transport.js';
