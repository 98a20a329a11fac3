// base: what every layer may use and what uses no layer: addresses, errors, clocks, seeded random numbers, queues and heaps, timers, latency statistics, WebAssembly's types.
export { Address, AddressMap, type Family, Prefix } from './address.js';
export { type Clock, RealClock, VirtualClock } from './clock.js';
export { RingcubeError, type RingcubeErrorCode, invalid } from './errors.js';
export { IndexedHeap } from './heap.js';
export { LatencyHistogram, type LatencySummary } from './histogram.js';
export { FixedQueue } from './queue.js';
export { IdHeap } from './id-heap.js';
export { Random } from './random.js';
export { specialise } from './specialise.js';
export { type Timer, Timers, TokenBucket } from './timers.js';
export { type WasmExports, type WasmFunction, type WasmGlobal, type WasmMemory, type WasmModule, WebAssembly } from './webassembly.js';
