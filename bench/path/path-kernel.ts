// The same agent behind kernel sockets over loopback: the load (native/bench/udp_load) has the engine's core, the forwarder this one.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { addon } from '../../src/nic/index.js';
import { Abi } from '../../src/spa/index.js';
import { nowNs } from '../context.js';
import { ENGINE_CPU } from '../cores.js';
import { BareAgent, Batch, copyBytes, SLOTS_AT, slotBytesFor } from './path-agent.js';
import { awaitRest, type During, type Latencies, PayloadCheck, type Throughput } from './path-measures.js';

const BATCH = 32;
/** On their way at most: what the default socket buffers hold. */
const WINDOW = 128;
const JUMBO_WINDOW = 8;
const WARM_UP_MS = 30;
const VERIFIED = 8;
/** For what was sent before to be served. */
const SERVE_MS = 20;

/** One that serves a port. */
interface KernelForwarder {
  readonly port: number;
  /** By its own software. */
  readonly copiedBytes: number;
  /** Forwards what comes for so long. */
  readonly serve: (ms: number) => Promise<void>;
  close(): void;
}

/** recvmmsg, a sum over all bytes, sendmmsg: in C, in this thread, asleep when nothing comes. */
export function cForwarder(payloadBytes: number): Promise<KernelForwarder> {
  const native = new addon.bench.UdpForwarder(payloadBytes, BATCH, false, true, undefined, true);
  return Promise.resolve({
    port: native.port,
    copiedBytes: 0,
    serve: (ms) => {
      native.run(ms * 1e6);
      return Promise.resolve();
    },
    close: () => undefined,
  });
}

/**
 * Node's dgram, connected to its one peer once that has sent something. Each message is copied to the agent, in turn into one of the slots of its memory, and sent from
 * there: more slots than may be on their way, as send() may come to it later.
 */
export async function dgramForwarder(payloadBytes: number): Promise<KernelForwarder> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 });
  const agent = new BareAgent();
  const { u8, words } = agent;
  const stride = SLOTS_AT + slotBytesFor(payloadBytes);
  const slots = Math.min(2 * WINDOW, Math.floor((Abi.windowEnd - Abi.windowStart) / stride));
  let next = 0;
  let copiedBytes = 0;
  let connected = false;
  socket.on('error', () => undefined); // ECONNREFUSED, when the load closes its port; EISCONN, of what was sent just before connected
  let connecting = false;
  socket.on('connect', () => {
    connected = true;
  });
  socket.on('message', (payload, from) => {
    const at = Abi.windowStart + next * stride;
    next = (next + 1) % slots;
    const batch = at >> 2;
    words[batch + Batch.count] = 1;
    words[batch + Batch.slotBytes] = stride - SLOTS_AT;
    words[batch + Batch.lengths] = payload.length;
    copyBytes(u8, at + SLOTS_AT, payload, 0, payload.length);
    copiedBytes += payload.length;
    agent.run(at);
    const length = words[batch + Batch.lengths];
    if (length < 0) return;
    const out = u8.subarray(at + SLOTS_AT, at + SLOTS_AT + length);
    if (connected) socket.send(out);
    else {
      socket.send(out, from.port, from.address);
      if (!connecting) socket.connect(from.port, from.address);
      connecting = true;
    }
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return {
    port: socket.address().port,
    get copiedBytes() {
      return copiedBytes;
    },
    serve: async (ms) => {
      await sleep(ms);
    },
    close: () => {
      socket.close();
    },
  };
}

export type Open = (payloadBytes: number) => Promise<KernelForwarder>;

/** @throws in one line unless all payloads come back as they were */
export async function verifyKernel(name: string, open: Open, payloadBytes: number): Promise<void> {
  const forwarder = await open(payloadBytes);
  const client = createSocket('udp4');
  try {
    const check = new PayloadCheck(name, payloadBytes, VERIFIED);
    client.on('message', (payload) => {
      if (payload.length === payloadBytes) check.take(payload);
    });
    client.connect(forwarder.port, '127.0.0.1');
    await once(client, 'connect');
    client.send(new Uint8Array(1)); // for the forwarder to see who sends
    await forwarder.serve(SERVE_MS);
    for (let i = 0; i < check.count; i++) client.send(check.payload(i));
    await sleep(1);
    await forwarder.serve(SERVE_MS);
    await check.all();
  } finally {
    client.close();
    forwarder.close();
  }
}

export async function kernelThroughput(open: Open, payloadBytes: number, ms: number, during: During): Promise<Throughput> {
  const forwarder = await open(payloadBytes);
  const window = payloadBytes > 1472 ? JUMBO_WINDOW : WINDOW;
  const load = new addon.bench.UdpLoad({ toPort: forwarder.port, payloadBytes, batch: Math.min(BATCH, window), window, cpu: ENGINE_CPU });
  try {
    await forwarder.serve(WARM_UP_MS);
    return await during(async () => {
      await forwarder.serve(ms / 8);
      const before = load.returned;
      const copied = forwarder.copiedBytes;
      const start = nowNs();
      await forwarder.serve(ms);
      const returned = load.returned - before;
      return { perSecond: (returned / (nowNs() - start)) * 1e9, copiedBytes: returned === 0 ? 0 : (forwarder.copiedBytes - copied) / returned };
    });
  } finally {
    load.stop();
    forwarder.close();
  }
}

export async function kernelLatencies(open: Open, payloadBytes: number, perSecond: number, ms: number, during: During): Promise<Latencies> {
  const forwarder = await open(payloadBytes);
  const sent = Math.round((perSecond * ms) / 1e3);
  let load: InstanceType<typeof addon.bench.UdpLoad> | undefined;
  try {
    return await during(async () => {
      const paced = new addon.bench.UdpLoad({ toPort: forwarder.port, payloadBytes, rate: perSecond, limit: sent, cpu: ENGINE_CPU });
      load = paced;
      await forwarder.serve(ms);
      await awaitRest(() => paced.returned === sent, forwarder.serve);
      return { sent, ns: paced.latencies() };
    });
  } finally {
    load?.stop();
    forwarder.close();
  }
}
