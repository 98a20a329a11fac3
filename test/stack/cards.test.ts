// A host of two cards: each buffer is its own card's, whichever way a datagram goes out.
import t from 'tap';
import { Host, stepHosts } from '../../src/host/index.js';
import { Engine, Link } from '../../src/nic/index.js';

t.test('buffers of one card, datagrams by the other', (t) => {
  const engine = new Engine({ stepped: true });
  const middle = new Host(engine, {
    seed: 1,
    interfaces: [{ addresses: ['198.18.0.1/24'], ipv6: false }, { addresses: ['198.18.1.1/24'], ipv6: false }],
  });
  const far = new Host(engine, { seed: 2, interfaces: [{ addresses: ['198.18.1.2/24'], ipv6: false }] });
  const near = new Host(engine, { seed: 3, interfaces: [{ addresses: ['198.18.0.2/24'], ipv6: false }] });
  const links = [new Link(engine, middle.nics[0], near.nics[0]), new Link(engine, middle.nics[1], far.nics[0])];
  const hosts = [middle, far, near];
  const step = (): void => {
    stepHosts(engine, hosts, engine.nowUs() + 1e5);
  };
  step();
  const free = middle.interfaces.map((i) => i.driver.pool.available);

  const got: string[] = [];
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
  const server = far.openUdp({
    port: 7,
    onDatagrams: (batch) => {
      for (let i = batch.from; i < batch.to; i++) got.push(text(batch.payload(i)));
    },
  });
  const socket = middle.openUdp({
    port: 9,
    onDatagrams: (batch, own) => {
      for (let i = batch.from; i < batch.to; i++) own.reply(batch, i);
    },
  });
  const flow = socket.flow('198.18.1.2', 7);
  // The first waits for the neighbour, the second does not; both lie in the first card's memory and go out by the second.
  for (const word of ['first', 'second']) {
    const handle = socket.allocate();
    const at = socket.payloadAt(handle);
    socket.u8.set(Buffer.from(word), at);
    t.equal(flow.sendBuffer(handle, at, word.length), 'sent');
    step();
  }
  const shared = socket.allocate();
  socket.u8.set(Buffer.from('shared'), socket.payloadAt(shared));
  t.equal(flow.sendShared(shared, socket.payloadAt(shared), 6), 'sent');
  socket.release(shared);
  step();
  t.same(got, ['first', 'second', 'shared']);

  // Answers to what came in by the second card go back from its own buffers.
  server.send('echo', 9, '198.18.1.1');
  step();
  t.same(got.at(-1), 'echo');
  for (const iface of middle.interfaces) iface.pair.tx.reclaim();
  t.same(middle.interfaces.map((i) => i.driver.pool.available), free, 'every buffer is back in its own pool');
  for (const link of links) link.close();
  for (const host of hosts) host.stop();
  t.end();
});
