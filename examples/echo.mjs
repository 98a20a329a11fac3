// Two hosts on a wire that loses a fifth of the frames, in virtual time: a server echoes datagrams from the buffers they came
// in, a client asks again until it has its answer. Run it twice: the same frames are lost.
import { Engine, Host, Link, stepHosts } from 'ringcube';

const engine = new Engine({ stepped: true });
const client = new Host(engine, { seed: 1, interfaces: [{ addresses: ['198.18.0.1/24', 'fd00::1/64'] }] });
const server = new Host(engine, { seed: 2, interfaces: [{ addresses: ['198.18.0.2/24', 'fd00::2/64'] }] });
new Link(engine, client.nics[0], server.nics[0], { delayUs: 2000, loss: 0.2, seed: 7 });

server.openUdp({
  port: 7,
  onDatagrams(batch, socket) {
    for (let i = batch.from; i < batch.to; i++) socket.reply(batch, i);
  },
});

let answer = -1;
const socket = client.openUdp({
  onDatagrams(batch) {
    for (let i = batch.from; i < batch.to; i++) answer = batch.u8[batch.offset[i]];
  },
});

stepHosts(engine, [client, server], 2e6); // until their addresses are in use
let tries = 0;
for (let number = 0; number < 50; number++) {
  while (answer !== number) {
    socket.send(Uint8Array.of(number), 7, number % 2 === 0 ? '198.18.0.2' : 'fd00::2');
    tries++;
    stepHosts(engine, [client, server], engine.nowUs() + 10_000);
  }
}
console.log(`50 answers took ${tries} tries and ${(engine.nowUs() / 1e6).toFixed(2)} s of virtual time`);
