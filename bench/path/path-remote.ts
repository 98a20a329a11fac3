// The agent in a process or in a thread of its own, seen from the thread that has the cards: batches of payloads go there by copy, and
// come back by copy.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { BATCH_BYTES, Batch, BatchWriter, SLOTS_AT } from './path-agent.js';
import { makeRing, Ring, RING_SLOTS } from './path-ring.js';

/** Batches on their way at most: enough to keep both sides busy, and a bound on what piles up. One more is being filled. */
const WINDOW = RING_SLOTS - 1;
const PATIENCE_MS = 5000;

/** Gets what is to be sent, bytes [offset, offset + length) of `u8`, until it returns. */
type OnPayload = (u8: Uint8Array, offset: number, length: number) => void;

export abstract class Remote {
  onPayload: OnPayload = () => undefined;
  /** All of a batch was handed over. */
  onBatch: () => void = () => undefined;
  /** By this process; what the kernel copies is not in it. */
  copiedBytes = 0;
  /** There was no room for them. */
  lost = 0;
  /** Of batches. */
  protected outstanding = 0;
  private open: BatchWriter | undefined;

  protected abstract take(): BatchWriter;
  protected abstract send(batch: BatchWriter): void;
  /** Waits until a batch has come back, and hands over what did. @throws if none does for seconds */
  abstract progress(): Promise<void>;
  /** Has results handed over as they come, by the event loop. */
  abstract listen(): void;
  abstract close(): Promise<void>;

  get hasRoom(): boolean {
    return this.outstanding < WINDOW;
  }

  get isIdle(): boolean {
    return this.outstanding === 0;
  }

  /** Copies a payload into the batch that is being filled. */
  add(u8: Uint8Array, offset: number, length: number): void {
    if (!this.filling().add(u8, offset, length)) {
      this.flush();
      if (!this.filling().add(u8, offset, length)) {
        this.lost++;
        return;
      }
    }
    this.copiedBytes += length;
  }

  private filling(): BatchWriter {
    return (this.open ??= this.take());
  }

  /** Sends the batch, if the window is open: else it goes on being filled until one comes back. */
  flush(): void {
    const { open } = this;
    if (open === undefined || open.count === 0 || !this.hasRoom) return;
    this.open = undefined;
    this.outstanding++;
    this.send(open);
  }

  protected handOver(words: Int32Array, u8: Uint8Array): void {
    const count = words[Batch.count];
    const slotBytes = words[Batch.slotBytes];
    for (let i = 0; i < count; i++) {
      const length = words[Batch.lengths + i];
      if (length >= 0) this.onPayload(u8, SLOTS_AT + i * slotBytes, length);
    }
    this.outstanding--;
    this.onBatch();
    this.flush();
  }
}

const CHILD = fileURLToPath(new URL('./path-agent.child.js', import.meta.url));
const WORKER = new URL('./path-agent.worker.js', import.meta.url);

/**
 * Over a socket pair, which is what Node makes of a 'pipe'. Of what Node offers it is the fastest: messages (fork) are serialized. The child
 * reads and writes its memory by system calls without any event loop.
 */
export class ChildRemote extends Remote {
  private readonly child: ChildProcess;
  private readonly socket: Socket;
  private readonly free: BatchWriter[] = [];
  private readonly sent: BatchWriter[] = [];
  /** A batch that has come in part. */
  private readonly part = new Uint8Array(BATCH_BYTES);
  private readonly partWords = new Int32Array(this.part.buffer);
  private have = 0;
  private waiting: { resolve: () => void; reject: (error: Error) => void } | undefined;
  private failure: Error | undefined;
  private closing = false;

  /** @param priority of SCHED_FIFO, 0: none */
  constructor(priority: number) {
    super();
    this.child = spawn(process.execPath, [CHILD, String(priority)], { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
    this.socket = this.child.stdio[3] as Socket;
    this.socket.on('data', this.onData);
    this.socket.on('error', this.fail);
    this.child.on('error', this.fail);
    this.child.on('exit', (code, signal) => {
      if (!this.closing) this.fail(new Error(`path: the child process has ended (${signal ?? code})`));
    });
  }

  private readonly fail = (error: Error): void => {
    this.failure ??= error;
    this.waiting?.reject(this.failure);
    this.waiting = undefined;
  };

  protected take(): BatchWriter {
    const batch = this.free.pop() ?? new BatchWriter(new ArrayBuffer(BATCH_BYTES), 0);
    batch.clear();
    return batch;
  }

  protected send(batch: BatchWriter): void {
    this.sent.push(batch);
    this.socket.write(batch.u8.subarray(0, batch.bytes));
  }

  async progress(): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    const late = setTimeout(() => {
      this.fail(new Error(`path: the child process has not answered for ${PATIENCE_MS / 1e3} s`));
    }, PATIENCE_MS);
    try {
      await new Promise<void>((resolve, reject) => {
        this.waiting = { resolve, reject };
      });
    } finally {
      clearTimeout(late);
    }
  }

  listen(): void {
    // Data events come by themselves.
  }

  private readonly onData = (chunk: Buffer): void => {
    let at = 0;
    while (at < chunk.length) {
      if (this.have === 0 && chunk.length - at >= SLOTS_AT && (chunk.byteOffset + at) % 4 === 0) {
        const words = new Int32Array(chunk.buffer, chunk.byteOffset + at, SLOTS_AT >> 2);
        const bytes = words[Batch.bytes];
        if (chunk.length - at >= bytes) {
          this.handOver(words, chunk.subarray(at, at + bytes));
          this.recycle();
          at += bytes;
          continue;
        }
      }
      at += this.assemble(chunk, at);
    }
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.resolve();
  };

  /** Takes from a chunk what is missing of the header, or of the batch; returns how much. */
  private assemble(chunk: Buffer, at: number): number {
    const end = this.have < SLOTS_AT ? SLOTS_AT : this.partWords[Batch.bytes];
    const n = Math.min(end - this.have, chunk.length - at);
    this.part.set(chunk.subarray(at, at + n), this.have);
    this.have += n;
    this.copiedBytes += n;
    if (this.have > SLOTS_AT && this.have === this.partWords[Batch.bytes]) {
      this.handOver(this.partWords, this.part);
      this.recycle();
      this.have = 0;
    }
    return n;
  }

  private recycle(): void {
    // What has come back was read, and so was written.
    this.free.push(this.sent.shift()!);
  }

  async close(): Promise<void> {
    this.closing = true;
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    this.socket.destroy();
  }
}

/** Over a ring in shared memory. */
export class WorkerRemote extends Remote {
  private readonly buffer = makeRing();
  private readonly control = new Int32Array(this.buffer, 0, Ring.slots >> 2);
  private readonly slots = Array.from({ length: RING_SLOTS }, (_, i) => new BatchWriter(this.buffer, Ring.slots + i * BATCH_BYTES));
  private readonly worker = new Worker(WORKER, { workerData: { buffer: this.buffer } });
  private sent = 0;
  private collected = 0;

  constructor() {
    super();
    this.worker.on('message', this.onMessage);
    this.worker.unref();
  }

  protected take(): BatchWriter {
    const batch = this.slots[this.sent & (RING_SLOTS - 1)];
    batch.clear();
    return batch;
  }

  protected send(): void {
    this.sent = (this.sent + 1) | 0;
    Atomics.store(this.control, Ring.sent, this.sent);
    Atomics.notify(this.control, Ring.sent);
  }

  private collect(): void {
    const done = Atomics.load(this.control, Ring.done);
    while (this.collected !== done) {
      const { u8, words } = this.slots[this.collected & (RING_SLOTS - 1)];
      // Both the worker's copies, in and out.
      this.copiedBytes += 2 * words[Batch.bytes];
      this.handOver(words, u8);
      this.collected = (this.collected + 1) | 0;
    }
  }

  /** This thread sleeps meanwhile: no message could tell as soon. */
  progress(): Promise<void> {
    if (Atomics.wait(this.control, Ring.done, this.collected, PATIENCE_MS) === 'timed-out') {
      throw new Error(`path: the worker has not answered for ${PATIENCE_MS / 1e3} s`);
    }
    this.collect();
    return Promise.resolve();
  }

  listen(): void {
    this.onMessage();
  }

  private readonly onMessage = (): void => {
    // The wish first, and one more look: what is done after that look is told.
    do {
      this.collect();
      Atomics.store(this.control, Ring.wanted, 1);
    } while (Atomics.load(this.control, Ring.done) !== this.collected);
  };

  async close(): Promise<void> {
    await this.worker.terminate();
  }
}
