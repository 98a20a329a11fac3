// Thirty hosts of an overlay in virtual time: they join, one publishes, all others subscribe with a bound of their own, and an interior host of the tree crashes.
import { OverlayNode, Random, World } from 'ringcube';

const random = new Random(1);
const world = new World({ hosts: 30, random: random.fork('world'), network: { delayUs: (a, b) => 5000 + 1000 * ((7 * a + 7 * b) % 13) } });
const run = (seconds) => world.run(world.clock.nowUs() + seconds * 1e6);

const nodes = Array.from({ length: 30 }, (_, host) => {
  const node = world.addHost(host, (transport, clock, directory) => new OverlayNode({ host, k: 3, n: 4, transport, clock, directory, random: random.fork(`host ${host}`) }));
  node.start();
  return node;
});
run(30);
console.log(`identifiers held: ${nodes.map(({ identifiers }) => identifiers.length).join(' ')}, of ${nodes[0].cube.size}`);

const publication = nodes[0].advertise(7);
const subscriptions = nodes.slice(1).map((node, i) =>
  node.subscribe(7, {
    boundUs: 15_000 + 1000 * i,
    bestEffort: true,
    onAdmission({ accepted, reason, delayUs }) {
      if (!accepted) console.log(`host ${node.host}: ${15 + i} ms refused (${reason}): it takes ${delayUs / 1e3} ms`);
    },
  }),
);
run(60);

const interior = nodes.findIndex((node, host) => host > 0 && node.branches()[0].children.length > 2);
const lost = nodes[interior].branches()[0].children;
for (let i = 0; i < 200; i++) {
  if (i === 50) world.crash(interior);
  publication.publish(Buffer.from(`message ${i}`));
  run(0.1);
}
run(1);
for (const [i, { counters, success }] of subscriptions.entries()) {
  const { host } = nodes[i + 1];
  if (counters.received < 200) console.log(`host ${host}${lost.includes(host) ? ', a child of the one that crashed' : host === interior ? ', the one that crashed' : ', farther below'}: ${counters.received} of 200 messages`);
  else if (success < 1) console.log(`host ${host}: ${counters.late} of 200 late`);
}
