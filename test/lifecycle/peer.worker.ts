import { parentPort } from 'node:worker_threads';
import { type Command, type Line, obey } from './peer.js';

const port = parentPort!;
const line: Line = {
  say: (report) => {
    port.postMessage(report);
  },
  hangUp: () => {
    port.unref();
  },
};
port.on('message', (command: Command) => {
  obey(line, command);
});
