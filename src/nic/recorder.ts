import { RingcubeError } from '../base/index.js';
import { type NativeRecorder, addon, native } from './addon.js';
import { type Engine } from './engine.js';
import { type Nic } from './nic.js';

/** Records what NICs send and take into one pcapng file, nanosecond stamps, an interface for each NIC. */
export class Recorder {
  /** @internal */
  readonly native: NativeRecorder;

  /** @throws ERR_SYSTEM if the file can't be written. An existing one is overwritten. */
  constructor(
    readonly engine: Engine,
    path: string,
  ) {
    this.native = native(() => new addon.Recorder(engine.native, path));
  }

  /** From now on. `name` is the interface's in the file. */
  add(nic: Nic, name: string): void {
    if (nic.engine !== this.engine) throw new RingcubeError('ERR_INVALID_ARGUMENT', 'a recorder and its NICs must be on one engine');
    this.native.add(nic.native, name);
  }

  /** Frames in the file, and those that the disk refused. */
  counters(): { written: number; lost: number } {
    return this.native.counters();
  }

  /** Stops recording and writes out what is buffered. */
  close(): void {
    this.native.close();
  }
}
