// Hosts with guarded agents, closed in one order or another; has to end by itself.
import { Verdict } from '../../src/spa/index.js';
import { agent as module } from '../spa/hostile/corpus.js';
import { I } from '../spa/wasm/builder.js';
import { World, example, numbered } from '../host/rig.js';
import { threadsNamed, until } from '../lifecycle/machine.js';

const watchdogs = (): number => threadsNamed('ringcube-watch');
let during = 0;
const [order] = process.argv.slice(2);
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function life(): Promise<void> {
  const world = await new World({ stepped: false }).start();
  const { server } = world;
  const share = { budgetUs: 1000, periodUs: 10_000, jobUs: 500 };
  const agents = [
    server.openAgent({ name: 'guard', module: example('pass'), budget: 'guard' }),
    server.openAgent({ name: 'epoch', module: example('pass'), budget: 'epoch' }),
    server.openAgent({ name: 'bad', module: module({ process: I.unreachable }), budget: 'guard' }),
  ];
  const trusted = server.openAgent({ name: 'trusted', module: { process: () => Verdict.drop } });
  const streams = [...agents, trusted].map((agent, i) => server.openStream({ name: agent.name, port: 5000 + i, agents: [agent], tickUs: 1000, ...(i % 2 === 0 ? { server: share, mode: 'job' as const } : {}) }));
  for (let k = 0; k < 20; k++) {
    for (let i = 0; i < 4; i++) world.send(5000 + i, numbered(k));
    await sleep(2);
  }
  during = watchdogs();
  if (order === 'agents-first') for (const agent of agents) agent.close();
  if (order === 'agents-first') await sleep(5);
  if (order === 'streams-first') for (const stream of streams) server.closeStream(stream);
  if (order === 'streams-first') for (const agent of agents) agent.close();
  // Jobs are queued, and others wait for their budget.
  if (order === 'waiting') for (let k = 0; k < 10; k++) for (const { server: own } of streams) own?.release({ run: () => { for (const until = performance.now() + 2; performance.now() < until; ); return undefined; } });
  if (order === 'waiting') await sleep(3);
  if (order === 'trapped') for (let k = 0; k < 10; k++) { world.send(5002, numbered(k)); await sleep(1); }
  world.close();
  if (order === 'twice') world.close();
  if (order === 'after') for (const agent of agents) agent.close();
  if (order === 'after') for (const stream of streams) server.closeStream(stream);
}

await life();
await until('the watchdog is gone', () => watchdogs() === 0);
process.stdout.write(`${JSON.stringify({ during, after: watchdogs() })}\n`);
