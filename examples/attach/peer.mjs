// Drives a card that owner.mjs lends. Its rings and frames lie in memory that both processes map; the owner's engine
// moves them. Frames cross no socket: that one carries only the card's registers, and ends this use of it when it closes.
import { Attachment, NicDriver } from 'ringcube';

const path = process.argv[2] ?? '/tmp/ringcube-attach';
const OWNER = [0x02, 0, 0, 0, 0, 0x0a];
const PEER = [0x02, 0, 0, 0, 0, 0x0b];

const driver = new NicDriver(new Attachment(path), {
  handler: {
    frames(batch) {
      for (let i = 0; i < batch.count; i++) {
        const ball = driver.device.memory.u8[batch.offset[i] + 14];
        driver.pool.put(batch.handle[i]); // read: the card may have the buffer again
        console.log(`peer:  ball ${ball}`);
        if (ball >= 20) driver.close();
        else serve(ball + 1);
      }
    },
  },
});
driver.start('interrupt');
serve(1);

function serve(ball) {
  const [pair] = driver.pairs;
  const handle = driver.pool.get();
  const at = driver.pool.offsetOf(handle);
  // 0x88b5 is an EtherType for experiments (IEEE 802); 60 bytes are the least that a frame has.
  driver.device.memory.u8.set([...OWNER, ...PEER, 0x88, 0xb5, ball, ...new Array(45).fill(0)], at);
  pair.tx.sendOne(handle, at, 60);
  driver.publish(pair);
}
