// Owns a card, a wire and the card at its other end, which it lends to another process:
//
//     node examples/attach/owner.mjs /tmp/card &
//     node examples/attach/peer.mjs /tmp/card
//
// The two play ball, a frame each way, ten times.
import { Engine, Link, Nic, NicDriver } from 'ringcube';

const path = process.argv[2] ?? '/tmp/ringcube-attach';
const engine = new Engine();
const mine = new Nic(engine, { mac: '02:00:00:00:00:0a' });
const lent = new Nic(engine, { mac: '02:00:00:00:00:0b' });
const wire = new Link(engine, mine, lent, { delayUs: 1000 });

const driver = new NicDriver(mine, {
  handler: {
    frames(batch, pair) {
      const { u8 } = driver.device.memory;
      for (let i = 0; i < batch.count; i++) {
        const at = batch.offset[i];
        const ball = ++u8[at + 14]; // the byte behind the Ethernet header
        console.log(`owner: ball ${ball}`);
        for (let k = 0; k < 6; k++) [u8[at + k], u8[at + 6 + k]] = [u8[at + 6 + k], u8[at + k]]; // back to its sender
        if (ball >= 20) setTimeout(close, 100); // once the wire has delivered it
      }
      pair.tx.send(batch); // in the buffers it came in: no copy
    },
  },
});
driver.start('interrupt');
lent.share(path); // last: who comes finds all ready
console.log(`owner: a card waits at ${path}`);

function close() {
  console.log(`owner: ${lent.connections} peer came; ${mine.counters().queues[0].frames} frames in, ${mine.counters().queues[1].frames} out`);
  driver.close();
  wire.close();
  lent.close();
}
