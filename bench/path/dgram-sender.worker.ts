// Sends datagrams by Node's dgram as fast as it can, WINDOW calls under way, until it is terminated.
import { createSocket } from 'node:dgram';
import { workerData } from 'node:worker_threads';
import { addon } from '../../src/nic/index.js';
import { ENGINE_CPU } from '../cores.js';

const WINDOW = 64;
const { port, payloadBytes } = workerData as { port: number; payloadBytes: number };
addon.bench.pin(ENGINE_CPU);
const socket = createSocket({ type: 'udp4', sendBufferSize: 4 << 20 });
const payload = new Uint8Array(payloadBytes);
const again = (): void => {
  socket.send(payload, again);
};
socket.on('error', () => undefined); // ECONNREFUSED, when the receiver closes its port
socket.connect(port, '127.0.0.1', () => {
  for (let i = 0; i < WINDOW; i++) again();
});
