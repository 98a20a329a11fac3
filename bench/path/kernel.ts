// The kernel path over loopback, for comparison: the load generator (native/bench/udp_load) has the engine's core, the
// forwarder this one. A forwarder gives back the payload it got.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { addon } from '../../src/nic/index.js';
import { nowNs } from '../context.js';
import { ENGINE_CPU } from '../cores.js';
import { HEADER_BYTES } from './frames.js';

const SENDER = new URL('./dgram-sender.worker.js', import.meta.url);
// More than the largest batch of 1,514-byte frames that the default socket buffers hold would be lost, not queued.
const WINDOW = 128;

/** How much `count` grows a second over `ms`, after a warm-up of a quarter of that. */
async function counted(count: () => number, ms: number): Promise<number> {
  await sleep(ms / 4);
  const before = count();
  const start = nowNs();
  await sleep(ms);
  return ((count() - before) / (nowNs() - start)) * 1e9;
}

/** Datagrams a second that a server in C serves on this thread over `ms`, after such a warm-up; then its load ends. */
function served(server: InstanceType<typeof addon.bench.UdpForwarder>, load: InstanceType<typeof addon.bench.UdpLoad>, ms: number): number {
  try {
    server.run((ms / 4) * 1e6);
    const [datagrams, ns] = server.run(ms * 1e6);
    return ns > 0 ? (datagrams / ns) * 1e9 : 0;
  } finally {
    load.stop();
  }
}

/** Node's dgram at its best: one peer, so connected (no address look-up for each send). Frames/s. */
export async function dgramForward(frameBytes: number, ms: number): Promise<number> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 });
  let frames = 0;
  let connected = false;
  socket.on('error', () => undefined); // ECONNREFUSED, when the load closes its port
  socket.on('message', (payload, from) => {
    if (connected) {
      socket.send(payload);
      frames++;
    } else {
      connected = true;
      socket.connect(from.port, from.address);
    }
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const load = new addon.bench.UdpLoad({
    toPort: socket.address().port,
    payloadBytes: frameBytes - HEADER_BYTES,
    batch: 32,
    window: WINDOW,
    cpu: ENGINE_CPU,
  });
  try {
    return await counted(() => frames, ms);
  } finally {
    load.stop();
    socket.close();
  }
}

/** recvmmsg and sendmmsg in C, batches of 32; `trains`: UDP GSO/GRO both ways, where 64 datagrams travel as one. */
export function cForward(frameBytes: number, batch: number, trains: boolean, ms: number): number {
  const payloadBytes = frameBytes - HEADER_BYTES;
  const forwarder = new addon.bench.UdpForwarder(payloadBytes, batch, trains, true);
  const load = new addon.bench.UdpLoad({
    toPort: forwarder.port,
    payloadBytes,
    batch: trains ? 256 : batch,
    window: trains ? 512 : WINDOW,
    cpu: ENGINE_CPU,
    segmentation: trains,
  });
  return served(forwarder, load, ms);
}

/** Datagrams a second from one dgram socket, in a worker with a core of its own, to another in this thread. */
export async function dgramOneWay(payloadBytes: number, ms: number): Promise<number> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
  let received = 0;
  socket.on('message', () => {
    received++;
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const sender = new Worker(SENDER, { workerData: { port: socket.address().port, payloadBytes } });
  try {
    while (received < 1000) await sleep(10);
    return await counted(() => received, ms);
  } finally {
    await sender.terminate();
    socket.close();
  }
}

/** Datagrams a second that recvmmsg in C receives, from a sender in C that does not wait. */
export function cOneWay(payloadBytes: number, batch: number, ms: number): number {
  const receiver = new addon.bench.UdpForwarder(payloadBytes, batch, false, false);
  const load = new addon.bench.UdpLoad({ toPort: receiver.port, payloadBytes, batch, window: 0, cpu: ENGINE_CPU });
  return served(receiver, load, ms);
}

/** Round trips in ns of one datagram at a time between two dgram sockets of this thread. */
export async function dgramEcho(payloadBytes: number, ms: number): Promise<number[]> {
  const server = createSocket('udp4');
  const client = createSocket('udp4');
  server.on('message', (payload, from) => {
    server.send(payload, from.port, from.address);
  });
  const times: number[] = [];
  try {
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    client.connect(server.address().port, '127.0.0.1');
    await once(client, 'connect');
    const data = new Uint8Array(payloadBytes);
    const end = nowNs() + ms * 1e6;
    let sent = nowNs();
    await new Promise<void>((resolve) => {
      client.on('message', () => {
        const now = nowNs();
        times.push(now - sent);
        if (now >= end) {
          resolve();
          return;
        }
        sent = now;
        client.send(data);
      });
      client.send(data);
    });
    return times;
  } finally {
    server.close();
    client.close();
  }
}

/** Echoes a second of one datagram at a time between C sockets of two threads. */
export function cEcho(payloadBytes: number, ms: number): number {
  const forwarder = new addon.bench.UdpForwarder(payloadBytes, 1, false, true);
  const load = new addon.bench.UdpLoad({ toPort: forwarder.port, payloadBytes, batch: 1, window: 1, cpu: ENGINE_CPU });
  return served(forwarder, load, ms);
}
