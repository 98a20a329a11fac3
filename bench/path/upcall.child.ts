// The other side of a round trip: a process that sends back what comes over a Unix socket. Ends with its parent.
import { createServer } from 'node:net';
import { addon } from '../../src/nic/index.js';

const [, , path, cpu] = process.argv;
addon.bench.pin(Number(cpu));
process.on('disconnect', () => process.exit());
const server = createServer((socket) => {
  socket.on('error', () => undefined);
  socket.on('data', (data) => socket.write(data));
});
server.listen(path, () => process.send!('ready'));
