// nic: the emulated card and its driver. The card (engine, NIC, link, replay, TAP, recorder) is C++ behind addon.ts; the driver
// (virtqueue, pool, queues, driver) is TypeScript over memory that both share, laid out as layout.ts says.
export {
  type NativeBench,
  type NicCounters,
  type QueueCounters,
  type ReplayCounters,
  type TapCounters,
  type WireCounters,
  addon,
} from './addon.js';
export { Attachment } from './attachment.js';
export { FrameBatch, FrameFlag } from './batch.js';
export { type Device, FEATURE_NAMES, type FeatureName, Features } from './device.js';
export { NicDriver } from './driver.js';
export { type DeviceEvent, type DriverHandler, type DriverOptions, type ServiceMode } from './driver-options.js';
export { Engine, type EngineOptions } from './engine.js';
export { Link, type LinkEnd, type LinkOptions, type WireOptions } from './link.js';
export { type DmaMapping, type FlowRule, Nic, type NicOptions, parseMac } from './nic.js';
export { FramePool, type FramePoolOptions, HEADROOM, MAX_POOLS, poolOf } from './pool.js';
export { QueuePair } from './queue-pair.js';
export { Recorder } from './recorder.js';
export { Memory, Region } from './region.js';
export { type FrameList, Replay, type ReplayOptions } from './replay.js';
export { RxQueue, SplitRxQueue } from './rx-queue.js';
export { type LastStop, Sandbox, Watchdog } from './sandbox.js';
export { type SandboxTrial, sandboxTrial } from './sandbox-trial.js';
export { Tap, type TapOptions } from './tap.js';
export { setRealtime } from './thread.js';
export { TxQueue } from './tx-queue.js';
export { Virtqueue } from './virtqueue.js';
