// A driver written as high-level drivers commonly are: a DataView over the rings, 64-bit addresses as BigInt, a Packet
// object with a Buffer over its frame for each descriptor, a Map of what is in flight. Correct, readable, and what
// the batches of typed arrays in src/nic replace.
import { Buffer } from 'node:buffer';
import { Desc, VirtioNetHdr } from '../../src/nic/layout.js';
import { type NicDriver, type Virtqueue } from '../../src/nic/index.js';
import { type Forwarder } from './forwarders.js';

class Packet {
  constructor(
    readonly address: number,
    readonly data: Buffer,
  ) {}
}

class ObjectQueue {
  readonly inFlight = new Map<number, Packet | number>();
  private readonly free: number[];
  private nextAvail = 0;
  private published = 0;
  private nextUsed = 0;

  constructor(
    private readonly view: DataView,
    private readonly u16: Uint16Array,
    private readonly ring: Virtqueue,
  ) {
    this.free = Array.from({ length: ring.size }, (_, i) => ring.size - 1 - i);
  }

  get room(): number {
    return this.free.length;
  }

  add(address: number, length: number, flags: number, owner: Packet | number): void {
    const id = this.free.pop()!;
    const at = this.ring.descOffset + 16 * id;
    this.view.setBigUint64(at, BigInt(address), true);
    this.view.setUint32(at + 8, length, true);
    this.view.setUint16(at + 12, flags, true);
    this.view.setUint16(at + 14, 0, true);
    this.inFlight.set(id, owner);
    this.view.setUint16(this.ring.availOffset + 4 + 2 * (this.nextAvail % this.ring.size), id, true);
    this.nextAvail = (this.nextAvail + 1) & 0xffff;
  }

  publish(): boolean {
    const before = this.published;
    this.published = this.nextAvail;
    if (before === this.nextAvail) return false;
    Atomics.store(this.u16, (this.ring.availOffset + 2) >> 1, this.nextAvail);
    const event = Atomics.load(this.u16, (this.ring.usedOffset + 4 + 8 * this.ring.size) >> 1);
    return ((this.nextAvail - event - 1) & 0xffff) < ((this.nextAvail - before) & 0xffff);
  }

  *used(max: number): Generator<{ owner: Packet | number; length: number }> {
    const idx = Atomics.load(this.u16, (this.ring.usedOffset + 2) >> 1);
    for (let n = 0; n < max && this.nextUsed !== idx; n++) {
      const at = this.ring.usedOffset + 4 + 8 * (this.nextUsed % this.ring.size);
      const id = this.view.getUint32(at, true);
      const owner = this.inFlight.get(id);
      if (owner === undefined) throw new Error(`used id ${id} is not in flight`);
      this.inFlight.delete(id);
      this.free.push(id);
      this.nextUsed = (this.nextUsed + 1) & 0xffff;
      yield { owner, length: this.view.getUint32(at + 4, true) };
    }
  }
}

export class ObjectForwarder implements Forwarder {
  private readonly rx: ObjectQueue;
  private readonly tx: ObjectQueue;
  private readonly buffers: number[] = [];
  private readonly region: ArrayBuffer;

  constructor(private readonly driver: NicDriver) {
    const { memory } = driver.device;
    this.region = memory.buffer;
    const view = new DataView(memory.buffer);
    this.rx = new ObjectQueue(view, memory.u16, driver.pairs[0].rx.ring);
    this.tx = new ObjectQueue(view, memory.u16, driver.pairs[0].tx.ring);
    for (let handle = driver.pool.get(); handle >= 0; handle = driver.pool.get()) {
      this.buffers.push(driver.pool.offsetOf(handle) - VirtioNetHdr.size);
    }
  }

  turn(max: number): number {
    for (const { owner } of this.tx.used(this.driver.pool.count)) this.buffers.push((owner as Packet).address);
    while (this.rx.room > 0 && this.buffers.length > 0) {
      const address = this.buffers.pop()!;
      this.rx.add(address, VirtioNetHdr.size + this.driver.pool.frameBytes, Desc.Write, address);
    }
    if (this.rx.publish()) this.driver.device.native.kick(0);
    const packets: Packet[] = [];
    for (const { owner, length } of this.rx.used(Math.min(max, this.tx.room))) {
      packets.push(new Packet(owner as number, Buffer.from(this.region, owner as number, length)));
    }
    for (const packet of packets) {
      this.forward(packet);
      this.tx.add(packet.address, packet.data.length, 0, packet);
    }
    if (this.tx.publish()) this.driver.device.native.kick(1);
    return packets.length;
  }

  private forward(packet: Packet): void {
    packet.data.fill(0, 0, VirtioNetHdr.size);
    const frame = packet.data.subarray(VirtioNetHdr.size);
    const source = Buffer.from(frame.subarray(6, 12));
    frame.copy(frame, 6, 0, 6);
    source.copy(frame, 0);
    if (frame.readUInt16BE(12) !== 0x0800 || frame.readUInt8(22) <= 1) return;
    const old = frame.readUInt16BE(22);
    let sum = (~frame.readUInt16BE(24) & 0xffff) + (~old & 0xffff) + (old - 0x100);
    sum = (sum & 0xffff) + (sum >>> 16);
    sum = (sum & 0xffff) + (sum >>> 16);
    frame.writeUInt16BE(old - 0x100, 22);
    frame.writeUInt16BE(~sum & 0xffff, 24);
  }
}
