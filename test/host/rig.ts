// What the tests of hosts with agents share: two hosts on a wire, one that sends and listens, one whose streams are under test.
import { readFileSync } from 'node:fs';
import { Host, type HostOptions, stepHosts } from '../../src/host/index.js';
import { Engine, Link } from '../../src/nic/index.js';
import { type UdpSocket } from '../../src/stack/index.js';
import { root } from '../repo/tree.js';

export const CLIENT = '198.18.0.1';
const SERVER = '198.18.0.2';
/** Where the client listens. */
export const SINK = 6000;

/** The module of an example agent, as `npm run build:agents` left it. */
export const example = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(`dist/agents/${name}.wasm`, root)));

export interface Arrival {
  bytes: Uint8Array;
  port: number;
  atUs: number;
}

export class World {
  readonly engine: Engine;
  readonly client: Host;
  readonly server: Host;
  readonly link: Link;
  /** What came back to the client, at SINK and the ports behind it. */
  readonly arrivals: Arrival[] = [];
  private readonly socket: UdpSocket;

  constructor({ stepped = true, sinks = 1, ...options }: HostOptions & { stepped?: boolean; sinks?: number } = {}) {
    this.engine = new Engine({ stepped });
    this.client = new Host(this.engine, { interfaces: [{ addresses: [`${CLIENT}/24`] }], seed: 1 });
    this.server = new Host(this.engine, { interfaces: [{ addresses: [`${SERVER}/24`] }], seed: 2, agentQueues: 4, ...options });
    this.link = new Link(this.engine, this.client.nics[0], this.server.nics[0], {});
    for (let i = 0; i < sinks; i++) {
      this.client.openUdp({
        port: SINK + i,
        onDatagrams: (batch) => {
          for (let k = batch.from; k < batch.to; k++) this.arrivals.push({ bytes: batch.payload(k).slice(), port: SINK + i, atUs: this.client.clock.nowUs() });
        },
      });
    }
    this.socket = this.client.openUdp({ port: 4000 });
  }

  get nowUs(): number {
    return this.client.clock.nowUs();
  }

  /** In real time: addresses in use on both sides. */
  async start(): Promise<this> {
    this.client.start();
    this.server.start();
    await this.client.ready();
    await this.server.ready();
    return this;
  }

  /** In virtual time: addresses in use, and neighbours known on both sides. */
  settle(): this {
    this.stepTo(3e6);
    this.socket.send(Uint8Array.of(0), 9, SERVER);
    const probe = this.server.openUdp({ port: 4001 });
    probe.send(Uint8Array.of(0), 9, CLIENT);
    this.stepTo(4e6);
    probe.close();
    return this;
  }

  stepTo(untilUs: number): this {
    stepHosts(this.engine, [this.client, this.server], untilUs);
    return this;
  }

  step(byUs = 1e4): this {
    return this.stepTo(this.engine.nowUs() + byUs);
  }

  send(port: number, ...payloads: Uint8Array[]): this {
    for (const payload of payloads) this.socket.send(payload, port, SERVER);
    for (const iface of this.client.interfaces) iface.publish();
    return this;
  }

  /** Takes what has arrived. */
  take(): Uint8Array[] {
    return this.arrivals.splice(0).map(({ bytes }) => bytes);
  }

  close(): void {
    this.client.stop();
    this.server.stop();
    this.link.close();
  }
}

/** A payload that says which it is: its number, and a pattern of it. */
export function numbered(number: number, length = 64): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => number * 37 + i * 11);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

export const numberOf = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
