// upcall: from a card's queue to the agents of its stream: which queue is whose, and when its bottom half runs: in the interrupt, or as a
// job on its server's time, or in its turn among the loss-tolerant streams of a share.
export { Binding, type BindOptions, type Costs, Dispatcher, type DispatcherOptions, type UpcallMode } from './dispatcher.js';
export { DwcsShare, type ShareCounters } from './share.js';
export { Stream, type StreamCounters, type StreamOptions, type StreamOutput } from './stream.js';
