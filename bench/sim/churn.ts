// churn: hosts crash, join and leave under a stream: how many messages that takes, how long subscribers hear nothing, and whether any message comes twice or never.
import { Random, invalid } from '../../src/base/index.js';
import { type HostNumber, type OverlayNode } from '../../src/overlay/index.js';
import { type Figure, type Result, type Target, humanize, summarize } from '../../src/report/index.js';
import { type HostNetwork, World, addNode, formOverlay, quantile } from '../../src/sim/index.js';
import { type Experiment, type ExperimentOutput, type SimContext } from './experiment.js';
import { MOST_WORLD_HOSTS, askedShape, hostsOf, networkFor, smallestShape, wholeParameter } from './flow-setup.js';

const NAME = 'churn';
const HOSTS = 4096;
const SUBSCRIBERS = 1024;
const LEAST_HOSTS = 4;
const ROUTERS = 1000;
const HEARTBEAT_US = 1e6;
const LEASE_US = 5 * HEARTBEAT_US;
const COMMON = { heartbeatUs: HEARTBEAT_US, leaseUs: LEASE_US };
/** All know their neighbours' distances after that; and then the tree is built. */
const SETTLE_US = 5 * HEARTBEAT_US;
const PUBLISH_US = 200_000;
const CHANNEL = 1;
/** Of the hosts; at most so many, one after the other at this distance. */
const CRASHING = 0.02;
const MOST_AT_ONCE = 64;
const APART_US = 50_000;
/** Types of messages, in the fourth byte of each, that flow in any case. */
const HEARTBEAT_TYPE = 1;
const DATA_TYPE = 14;

/** What a subscriber has heard. */
interface Ear {
  readonly host: HostNumber;
  lastUs: number;
  longestUs: number;
  readonly heard: Set<number>;
}

class Churn {
  readonly gapsUs = new Map<string, number[]>();
  readonly messages = new Map<string, number>();
  duplicates = 0;
  missing = 0;
  expected = 0;
  published = 0;
  private readonly world: World;
  private readonly nodes: (OverlayNode | undefined)[];
  private readonly ears = new Map<HostNumber, Ear>();
  private readonly sentUs: number[] = [];
  private control = 0;

  constructor(
    private readonly random: Random,
    private readonly shape: { k: number; n: number },
    readonly hosts: number,
    network: HostNetwork,
  ) {
    this.world = new World({ hosts, random: random.fork('world'), network: { delayUs: (from, to) => network.delayUs(from, to) } });
    const { bytes } = this.world.network;
    this.world.network.onSend = () => {
      if (bytes[3] !== HEARTBEAT_TYPE && bytes[3] !== DATA_TYPE) this.control++;
    };
    this.nodes = formOverlay(this.world, hosts, { ...shape, ...COMMON }, random.fork('nodes'));
  }

  /** Host 0 publishes; these subscribe. */
  begin(subscribers: readonly HostNumber[]): void {
    this.run(SETTLE_US);
    const { view } = this.world.network;
    for (const host of subscribers) {
      const ear: Ear = { host, lastUs: NaN, longestUs: 0, heard: new Set() };
      this.ears.set(host, ear);
      this.nodes[host]!.subscribe(CHANNEL, {
        onMessage: (at) => {
          const number = view.getUint32(at);
          if (ear.heard.has(number)) this.duplicates++;
          ear.heard.add(number);
          const nowUs = this.world.clock.nowUs();
          ear.longestUs = Math.max(ear.longestUs, nowUs - ear.lastUs);
          ear.lastUs = nowUs;
        },
      });
    }
    const publication = this.nodes[0]!.advertise(CHANNEL);
    const payload = new Uint8Array(64);
    const publish = (): void => {
      new DataView(payload.buffer).setUint32(0, this.published);
      if (publication.publish(payload)) {
        this.published++;
        this.sentUs.push(this.world.clock.nowUs());
      }
      this.world.after(PUBLISH_US, publish);
    };
    this.world.after(PUBLISH_US, publish);
    this.run(2 * SETTLE_US);
  }

  /** Something is done to each of these hosts, one after the other; then it is waited until all must be whole again, and for as long as a lease, and judged. */
  phase(name: string, victims: readonly HostNumber[], boundUs: number, deed: (host: HostNumber, node: OverlayNode | undefined) => void): void {
    const before = this.control;
    const nowUs = this.world.clock.nowUs();
    for (const ear of this.ears.values()) ear.longestUs = Math.max(0, nowUs - ear.lastUs);
    for (const [i, host] of victims.entries()) {
      this.world.after(i * APART_US, () => {
        deed(host, this.nodes[host]);
      });
    }
    this.run(victims.length * APART_US + boundUs);
    const fromUs = this.world.clock.nowUs();
    this.run(2 * LEASE_US);
    const untilUs = this.world.clock.nowUs() - SETTLE_US;
    this.messages.set(name, (this.control - before) / victims.length);
    const gaps: number[] = [];
    for (const ear of this.ears.values()) {
      gaps.push(Math.max(ear.longestUs, this.world.clock.nowUs() - ear.lastUs));
      for (const [number, atUs] of this.sentUs.entries()) {
        if (atUs < fromUs || atUs > untilUs) continue;
        this.expected++;
        if (!ear.heard.has(number)) this.missing++;
      }
    }
    this.gapsUs.set(name, gaps.sort((a, b) => a - b));
  }

  crash(host: HostNumber): void {
    this.world.crash(host);
    this.forget(host);
  }

  leave(host: HostNumber): void {
    this.nodes[host]!.leave(() => {
      this.world.after(0, () => {
        this.world.crash(host);
      });
    });
    this.forget(host);
  }

  join(host: HostNumber): void {
    this.nodes[host] = addNode(this.world, host, { ...this.shape, ...COMMON }, this.random.fork(`again ${host}`));
    this.nodes[host].start();
  }

  repairBoundUs(maxDelayUs: number): number {
    return this.nodes[0]!.repairBoundUs(maxDelayUs);
  }

  /** What flows by the way without any churn: grafts that keep children, in messages a second. */
  idle(): number {
    const before = this.control;
    this.run(4 * HEARTBEAT_US);
    return (this.control - before) / 4;
  }

  private forget(host: HostNumber): void {
    this.nodes[host] = undefined;
    this.ears.delete(host);
  }

  private run(durationUs: number): void {
    this.world.run(this.world.clock.nowUs() + durationUs);
  }
}

function maxDelayUs(network: HostNetwork, hosts: number): number {
  let most = 0;
  for (let a = 0; a < hosts; a++) for (let b = 0; b < a; b++) most = Math.max(most, network.delayUs(a, b));
  return most;
}

async function run(context: SimContext): Promise<ExperimentOutput> {
  const { parameters, seed, signal, progress } = context;
  const shape = askedShape(parameters);
  const hosts = hostsOf(parameters, HOSTS, shape, MOST_WORLD_HOSTS);
  if (hosts < LEAST_HOSTS) throw invalid('hosts', hosts, `${LEAST_HOSTS} or more: one publishes, one crashes, one leaves, one hears it`);
  const subscribers = wholeParameter(parameters, 'subscribers', Math.min(SUBSCRIBERS, hosts - 1), 1, hosts - 1, ': all but the publisher');
  const random = new Random(seed >>> 0).fork(NAME);
  const step = async (done: number, what: string): Promise<void> => {
    signal.throwIfAborted();
    progress(done, 6, what);
    await new Promise((resolve) => setImmediate(resolve));
  };
  const { network } = await networkFor({ ...context, parameters: { routers: ROUTERS, ...parameters } }, hosts, seed, (share) => {
    progress(share, 6, 'network');
  });
  const { k, n } = shape ?? smallestShape(2, hosts);
  const churn = new Churn(random, { k, n }, hosts, network);
  const others = random.fork('roles').shuffle(Array.from({ length: hosts - 1 }, (_, i) => i + 1));
  await step(1, 'tree');
  churn.begin(others.slice(0, subscribers));
  const boundUs = churn.repairBoundUs(maxDelayUs(network, hosts));
  await step(2, 'nothing');
  const idle = churn.idle();
  const count = Math.max(1, Math.min(MOST_AT_ONCE, Math.floor(hosts * CRASHING)));
  // Subscribers and those between them alike.
  const victims = random.fork('victims').shuffle(others).slice(0, 2 * count);
  await step(3, 'crashes');
  churn.phase('crash', victims.slice(0, count), boundUs, (host) => {
    churn.crash(host);
  });
  await step(4, 'joins');
  churn.phase('join', victims.slice(0, count), boundUs, (host) => {
    churn.join(host);
  });
  await step(5, 'leaves');
  churn.phase('leave', victims.slice(count), boundUs, (host) => {
    churn.leave(host);
  });
  return report(churn, { k, n, hosts, subscribers, count, boundUs, idle });
}

function report(churn: Churn, { k, n, hosts, subscribers, count, boundUs, idle }: { k: number; n: number; hosts: number; subscribers: number; count: number; boundUs: number; idle: number }): ExperimentOutput {
  const results: Result[] = [];
  const add = (variant: string, metric: string, unit: string, value: number, params: Record<string, number> = {}): void => {
    results.push({ bench: NAME, variant, params, metric, unit, ...summarize([value]) });
  };
  const phaseUs = count * APART_US + boundUs + 2 * LEASE_US;
  for (const [phase, gaps] of churn.gapsUs) {
    // Of subscribers that went themselves there is none.
    if (gaps.length > 0) for (const percent of [50, 75, 90, 95, 99, 100]) add(phase, 'gap', 'µs', quantile(gaps, percent / 100), { percent });
    add(phase, 'messages', 'messages', Math.max(0, churn.messages.get(phase)! - (idle * phaseUs) / 1e6 / count), { hosts });
  }
  const crashes = churn.gapsUs.get('crash')!;
  // Between two messages there is nothing to hear, repair or not.
  const [median, longest] = [0.5, 1].map((share) => quantile(crashes, share));
  const silentUs = longest - PUBLISH_US;
  const isHeard = crashes.length > 0;
  const figures: Figure[] = [
    {
      id: 'churn-gap',
      title: 'How long subscribers hear nothing',
      paragraph:
        `${hosts} hosts of a ${k}x${n} cube, ${subscribers} of which subscribe to a stream of a message each ${humanize(PUBLISH_US, 'µs')}; heartbeats each second. ${count} hosts crash, join and leave, ` +
        `${humanize(APART_US, 'µs')} apart. The longest gap of each subscriber, by percentile. Of those whose tree no crash touched it is the time between two messages; the longest is ${isHeard ? humanize(longest, 'µs') : 'nobody\'s: all subscribers crashed'}. ` +
        `A repair may take ${humanize(boundUs, 'µs')}.`,
      kind: 'line',
      x: { param: 'percent', label: 'subscribers (%)' },
      y: { metric: 'gap', label: 'longest gap', unit: 'µs' },
      results,
      reference: { value: boundUs + PUBLISH_US, label: 'bound' },
    },
    {
      id: 'churn-messages',
      title: 'Messages for each host that crashes, joins or leaves',
      paragraph: 'All but heartbeats and the stream itself, without those that flow in any case; questions to the directory are none. What neighbours and children say to each other until all is whole again.',
      kind: 'bar',
      x: { param: 'hosts', label: 'hosts' },
      y: { metric: 'messages', label: 'messages', unit: 'messages' },
      results,
    },
  ];
  const targets: Target[] = [
    {
      what: `longest silence of a subscriber after a crash, ${hosts} hosts`, target: `≤ ${humanize(boundUs, 'µs')}, the stated bound`, reached: isHeard ? humanize(silentUs, 'µs') : '–',
      spread: isHeard ? `median ${humanize(median - PUBLISH_US, 'µs')}` : 'all subscribers crashed', met: isHeard ? silentUs <= boundUs : null,
    },
    { what: 'messages that came twice', target: '0', reached: String(churn.duplicates), spread: `of ${churn.published} published`, met: churn.duplicates === 0 },
    { what: 'messages after the bound that never came, links without loss', target: '0', reached: String(churn.missing), spread: `of ${churn.expected}`, met: churn.expected > 0 ? churn.missing === 0 : null },
  ];
  return { results, figures, targets, claims: [] };
}

export const churn: Experiment = {
  name: NAME,
  summary: 'hosts crash, join and leave: messages, repair times, gaps of subscribers',
  takes: {
    k: '2', n: 'the least that has an identifier for each host', hosts: String(HOSTS), subscribers: String(SUBSCRIBERS), routers: String(ROUTERS), topology: 'transit-stub',
  },
  run,
};
