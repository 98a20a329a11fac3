import { type Memory } from '../nic/index.js';
import { Address } from '../base/index.js';

/**
 * Datagrams as they came in, as parallel arrays: entries [from, to) are one socket's. The bytes lie in `u8`, mostly where the
 * card's DMA put them. Nothing is copied and no object is made for one; source() and the like make them where asked.
 *
 * Whose is a buffer? The handler's until it returns; then the stack gives it back to the pool, unless it was taken: take(i)
 * makes it the handler's, which then owes it to send (UdpFlow.sendBuffer) or to release (UdpSocket.release).
 */
export class DatagramBatch {
  from = 0;
  to = 0;
  /** What `offset` counts in. */
  u8: Uint8Array;
  /** Of the payload. */
  readonly offset: Int32Array;
  readonly length: Int32Array;
  /** Of the IP header. */
  readonly ip: Int32Array;
  /** Of the buffers; -1 where there is none of a pool (a datagram that was put together, or came from this host). */
  readonly handle: Int32Array;
  /** How many were taken. */
  taken = 0;

  constructor(
    capacity: number,
    /** Of the card; undefined for single datagrams from elsewhere. */
    readonly memory: Memory | undefined,
    handle: Int32Array = new Int32Array(capacity).fill(-1),
    /** The payloads lie apart from their headers, which then have neither options nor extensions. */
    private readonly split = false,
  ) {
    this.u8 = memory?.u8 ?? new Uint8Array(0);
    this.offset = new Int32Array(capacity);
    this.length = new Int32Array(capacity);
    this.ip = new Int32Array(capacity);
    this.handle = handle;
  }

  /** The payload as a view: valid until the handler returns, or the buffer is given back. Allocates the view. */
  payload(i: number): Uint8Array {
    return this.u8.subarray(this.offset[i], this.offset[i] + this.length[i]);
  }

  source(i: number): Address {
    const ip = this.ip[i];
    return this.u8[ip] >>> 4 === 4 ? Address.read(this.u8, ip + 12, 4) : Address.read(this.u8, ip + 8, 6);
  }

  destination(i: number): Address {
    const ip = this.ip[i];
    return this.u8[ip] >>> 4 === 4 ? Address.read(this.u8, ip + 16, 4) : Address.read(this.u8, ip + 24, 6);
  }

  sourcePort(i: number): number {
    const udp = this.udpAt(i);
    return (this.u8[udp] << 8) | this.u8[udp + 1];
  }

  destinationPort(i: number): number {
    const udp = this.udpAt(i);
    return (this.u8[udp + 2] << 8) | this.u8[udp + 3];
  }

  /** Where the UDP header of entry `i` lies in `u8`. */
  udpAt(i: number): number {
    if (!this.split) return this.offset[i] - 8;
    const ip = this.ip[i];
    return ip + (this.u8[ip] >>> 4 === 4 ? 20 : 40);
  }

  /** The buffer is the caller's from now on; -1 if there is none to take. */
  take(i: number): number {
    const handle = this.handle[i];
    if (handle === -1) return -1;
    this.handle[i] = -1;
    this.taken++;
    return handle;
  }
}
