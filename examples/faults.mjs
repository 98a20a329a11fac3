// Sends recorded traffic over a bad wire into a card, in virtual time: the same seed gives the same run.
import { Engine, Link, Nic, NicDriver, Replay } from 'ringcube';

const engine = new Engine({ stepped: true });
const nic = new Nic(engine);
let frames = 0;
const driver = new NicDriver(nic, {
  promiscuous: true,
  handler: {
    frames(batch) {
      // Frame i: batch.length[i] bytes from batch.offset[i] in nic.region.u8, where the card's DMA put them.
      for (let i = 0; i < batch.count; i++) driver.pool.put(batch.handle[i]);
      frames += batch.count;
    },
  },
});
const traffic = new Replay(engine, new URL('../test/data/traffic.pcapng', import.meta.url).pathname);
const link = new Link(engine, traffic, nic, { rateBps: 10e6, delayUs: 500, jitterUs: 100, loss: 0.1, corrupt: 0.01, seed: 7 });

traffic.start();
for (let timeUs = 0; timeUs < 7e6; timeUs += 1000) {
  engine.step(timeUs);
  driver.poll();
}
const { lost, corrupted } = link.counters()[0];
console.log(`${frames} frames arrived, ${lost} were lost, ${corrupted} corrupted`);
