import { RealClock, RingcubeError } from '../base/index.js';
import { type Device } from './device.js';
import { Ctrl, Desc } from './layout.js';
import { type Virtqueue } from './virtqueue.js';

const MAX_REQUEST_BYTES = 1024;
const PATIENCE_US = 2e6;

/** The control queue (virtio 1.2 §5.1.6.5): one command at a time, answered before send() returns. */
export class ControlQueue {
  readonly #request: number;
  readonly #answer: number;
  readonly #handle = new Int32Array(1);
  readonly #length = new Int32Array(1);
  readonly #clock = new RealClock();

  constructor(
    readonly ring: Virtqueue,
    private readonly device: Device,
    private readonly index: number,
  ) {
    this.#request = device.memory.reserve(MAX_REQUEST_BYTES);
    this.#answer = device.memory.reserve(1);
  }

  /**
   * @throws ERR_INVALID_ARGUMENT if the device refuses the command, ERR_DEVICE if it does not answer within 2 s.
   */
  send(commandClass: number, command: number, data: Uint8Array, what: string): void {
    const { ring, device } = this;
    if (data.length + 2 > MAX_REQUEST_BYTES) throw new RingcubeError('ERR_OUT_OF_RANGE', `${what}: over ${MAX_REQUEST_BYTES - 2} bytes`);
    ring.used(); // throws if the queue is broken: nothing is put on it then
    device.memory.u8[this.#request] = commandClass;
    device.memory.u8[this.#request + 1] = command;
    device.memory.u8.set(data, this.#request + 2);
    device.memory.u8[this.#answer] = Ctrl.Err;
    ring.offerTwo(this.#request, data.length + 2, 0, 0, this.#answer, 1, Desc.Write, 0);
    if (ring.publish()) device.native.kick(this.index);
    const giveUpUs = this.#clock.nowUs() + PATIENCE_US;
    while (ring.used() === 0) {
      if (this.#clock.nowUs() > giveUpUs) ring.fail(`no answer to ${what}`);
      device.relax();
    }
    ring.takeWrittenTwo(1, this.#handle, this.#handle, this.#length, 1);
    if (device.memory.u8[this.#answer] !== Ctrl.Ok) throw new RingcubeError('ERR_INVALID_ARGUMENT', `the device refuses ${what}`);
  }
}
