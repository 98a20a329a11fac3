// A host with a stream-processing agent in the way of a stream: a transcoder in WebAssembly, which works on the payloads where the card
// has put them. In virtual time: the same run each time. node examples/agent.mjs
import { readFileSync } from 'node:fs';
import { Engine, Host, Link, stepHosts } from 'ringcube';

const engine = new Engine({ stepped: true });
const source = new Host(engine, { seed: 1, interfaces: [{ addresses: ['198.18.0.1/24'] }] });
const host = new Host(engine, { seed: 2, interfaces: [{ addresses: ['198.18.0.2/24'] }], agentQueues: 1 });
new Link(engine, source.nics[0], host.nics[0], { rateBps: 100e6, delayUs: 200 });
stepHosts(engine, [source, host], 2e6); // addresses are in use

const agent = host.openAgent({ name: 'transcode', module: readFileSync(new URL('../dist/agents/transcode.wasm', import.meta.url)) });
const { server } = host.openStream({
  name: 'speech',
  port: 5004,
  agents: [agent],
  outputs: [{ address: '198.18.0.1', port: 5006 }],
  // 1 of each 10 ms of the processor, by a deadline of 5 ms.
  server: { budgetUs: 1000, periodUs: 10_000, deadlineUs: 5000, jobUs: 500 },
});

let received = 0;
source.openUdp({
  port: 5006,
  onDatagrams: (batch) => {
    for (let i = batch.from; i < batch.to; i++) received += batch.length[i];
  },
});
// 20 ms of 16-bit samples at 8 kHz behind an RTP header, 50 times a second.
const packet = new Uint8Array(12 + 320);
packet.set([0x80, 96]);
const speech = source.openUdp().flow('198.18.0.2', 5004);
for (let i = 0; i < 100; i++) {
  packet[3] = i;
  speech.send(packet);
  stepHosts(engine, [source, host], 2e6 + 20e3 * (i + 1));
}
const { payloads, copiedBytes, fuel } = agent.counters;
console.log(`${payloads} packets of 332 bytes in, ${received} bytes out; ${copiedBytes} bytes copied, ${fuel} instructions`);
console.log(`${server.counters.completed} jobs, ${server.counters.missed} deadlines missed, ${server.counters.usedUs.toFixed(0)} µs used`);
source.stop();
host.stop();
