import { type Command, type Line, obey } from './peer.js';

const line: Line = {
  say: (report) => process.send!(report),
  hangUp: () => {
    process.disconnect();
  },
};
// What a signal does to a call that blocks is what matters here.
process.on('SIGUSR2', () => undefined);
process.on('message', (command: Command) => {
  obey(line, command);
});
