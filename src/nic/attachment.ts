import { type NativeAttachment, addon, native } from './addon.js';
import { type Device } from './device.js';
import { Memory } from './region.js';

/** A NIC of another process or worker, which shares it at `path` (Nic.share). Whoever drops the connection resets it. */
export class Attachment implements Device {
  readonly memory: Memory;
  /** @internal */
  readonly native: NativeAttachment;

  /** @throws ERR_SYSTEM if nobody shares a NIC there, or somebody else drives it. */
  constructor(path: string) {
    this.native = native(() => new addon.Attachment(path));
    this.memory = new Memory(this.native.buffer);
  }

  relax(): void {
    // The owner's engine has a thread: nothing to do but wait.
  }

  close(): void {
    this.native.close();
  }
}
