// Frames that both ends can check byte by byte: a caller that sends them and wants each back, an echo that returns them.
import { type Device, NicDriver, type QueuePair, type ServiceMode } from '../../src/nic/index.js';
import { until } from './machine.js';

export const MODES: readonly ServiceMode[] = ['interrupt', 'adaptive', 'poll'];
export const CALLER_MAC = '02:00:00:00:00:0a';
export const ECHO_MAC = '02:00:00:00:00:0b';

const HEADER_BYTES = 18; // two addresses, a type, the number of the frame
const CALL = 0xb5;
const ANSWER = 0xb6;
const WINDOW = 64;

const lengthOf = (number: number): number => 60 + ((number * 397) % 1455);
const byteOf = (number: number, i: number): number => (number * 31 + i * 7) & 255;

/** Writes call `number` at `at`; returns its length. Types 0x88b5 and 0x88b6 are for such use (IEEE 802). */
function writeCall(u8: Uint8Array, at: number, number: number): number {
  const length = lengthOf(number);
  for (let i = 0; i < 6; i++) {
    u8[at + i] = Number.parseInt(ECHO_MAC.slice(3 * i, 3 * i + 2), 16);
    u8[at + 6 + i] = Number.parseInt(CALLER_MAC.slice(3 * i, 3 * i + 2), 16);
  }
  u8[at + 12] = 0x88;
  u8[at + 13] = CALL;
  for (let i = 0; i < 4; i++) u8[at + 14 + i] = number >>> (8 * i);
  for (let i = HEADER_BYTES; i < length; i++) u8[at + i] = byteOf(number, i);
  return length;
}

/** The number of the frame there, or -1 if a single byte is not as it must be. */
function check(u8: Uint8Array, at: number, length: number, type: number): number {
  const number = u8[at + 14] | (u8[at + 15] << 8) | (u8[at + 16] << 16) | (u8[at + 17] << 24);
  if (u8[at + 12] !== 0x88 || u8[at + 13] !== type || length !== lengthOf(number)) return -1;
  for (let i = HEADER_BYTES; i < length; i++) if (u8[at + i] !== byteOf(number, i)) return -1;
  return number;
}

/** Calls for a Replay, which numbers nothing: the first `count`. */
export function calls(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, number) => {
    const frame = new Uint8Array(1514);
    return frame.subarray(0, writeCall(frame, 0, number));
  });
}

/** Turns calls into answers in the buffers they came in, and sends these. */
export class Echo {
  frames = 0;
  wrong = 0;
  readonly driver: NicDriver;

  /** @param busy called at each batch, after it was dealt with */
  constructor(
    device: Device,
    private readonly busy: () => void = () => undefined,
  ) {
    this.driver = new NicDriver(device, { handler: { frames: (_, pair) => this.#answer(pair) } });
  }

  #answer(pair: QueuePair): void {
    const { batch } = pair;
    const { u8 } = this.driver.device.memory;
    for (let i = 0; i < batch.count; i++) {
      const at = batch.offset[i];
      if (check(u8, at, batch.length[i], CALL) < 0) this.wrong++;
      for (let k = 0; k < 6; k++) {
        const byte = u8[at + k];
        u8[at + k] = u8[at + 6 + k];
        u8[at + 6 + k] = byte;
      }
      u8[at + 13] = ANSWER;
    }
    this.frames += batch.count;
    for (let i = pair.tx.send(batch); i < batch.count; i++) this.driver.pool.put(batch.handle[i]);
    this.busy();
  }
}

/** Sends calls, WINDOW at a time, and checks what comes back. */
export class Caller {
  answered = 0;
  wrong = 0;
  #sent = 0;
  #total = 0;
  readonly driver: NicDriver;

  constructor(device: Device) {
    this.driver = new NicDriver(device, { handler: { frames: (_, pair) => this.#take(pair) } });
  }

  /** Resolves when all `total` answers are there. */
  async call(total: number): Promise<void> {
    this.#total += total;
    const pair = this.driver.pairs[0];
    this.#send(pair);
    this.driver.publish(pair);
    await until(`all ${total} answers were there`, () => this.answered === this.#total);
  }

  #send(pair: QueuePair): void {
    const { pool } = this.driver;
    while (this.#sent < this.#total && this.#sent - this.answered < WINDOW) {
      const handle = pool.get();
      const at = pool.offsetOf(handle);
      if (!pair.tx.sendOne(handle, at, writeCall(this.driver.device.memory.u8, at, this.#sent))) {
        pool.put(handle);
        return;
      }
      this.#sent++;
    }
  }

  #take(pair: QueuePair): void {
    const { batch } = pair;
    for (let i = 0; i < batch.count; i++) {
      // In order, each once.
      if (check(this.driver.device.memory.u8, batch.offset[i], batch.length[i], ANSWER) !== this.answered) this.wrong++;
      this.answered++;
      this.driver.pool.put(batch.handle[i]);
    }
    this.#send(pair);
  }
}
