import { Command, InvalidArgumentError, Option } from 'commander';
import { invalid, Prefix, RingcubeError } from '../base/index.js';
import { Host } from '../host/index.js';
import { Engine, Link, Recorder, Tap } from '../nic/index.js';
import { type UdpSocket } from '../stack/index.js';

interface HostCommandOptions {
  tap: string;
  netns?: string;
  ip: string[];
  ip6: string[];
  gateway: string[];
  echo?: number;
  pcap?: string;
  mtu: number;
  probe?: boolean;
  seconds?: number;
  json?: boolean;
}

const DEFAULT_ROUTE = { 4: '0.0.0.0/0', 6: '::/0' } as const;

function port(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 65535) throw new InvalidArgumentError('It must be a port from 1 to 65535.');
  return value;
}

function mtu(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1280 || value > 65000) throw new InvalidArgumentError('It must be a whole number from 1280 to 65000.');
  return value;
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 1e6)) throw new InvalidArgumentError('It must be a number of seconds above 0.');
  return value;
}

const collect = (value: string, all: string[]): string[] => [...all, value];

/** An address given for one family must be of it. */
function checked(texts: readonly string[], family: 4 | 6, flag: string): readonly string[] {
  for (const text of texts) if (Prefix.parse(text).address.family !== family) throw invalid(flag, text, `an IPv${family} address with its prefix length`);
  return texts;
}

interface Counts {
  framesIn: number;
  framesOut: number;
  echoed: number;
  ip: object;
  icmp: object;
  udp: object;
  reassembly: object;
  nic: object;
  tap: object;
}

function counts(host: Host, tap: Tap, echo: UdpSocket | undefined): Counts {
  const [nic] = host.nics;
  const all = nic.counters();
  const [rx, tx] = all.queues;
  const { ip, icmp, udp } = host.stack;
  return {
    framesIn: rx.frames,
    framesOut: tx.frames,
    echoed: echo?.counters.sent ?? 0,
    ip: ip.counters,
    icmp: icmp.counters,
    udp: udp.counters,
    reassembly: ip.reassembly.counters,
    nic: all,
    tap: tap.counters(),
  };
}

/** Counters that are not zero, as words. */
function nonZero(group: object): string {
  return Object.entries(group)
    .filter((entry): entry is [string, number] => typeof entry[1] === 'number' && entry[1] !== 0)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

async function run(options: HostCommandOptions): Promise<void> {
  const addresses = [...checked(options.ip, 4, '--ip'), ...checked(options.ip6, 6, '--ip6')];
  const say = (line: string): void => {
    if (options.json !== true) console.log(line);
  };
  const engine = new Engine();
  const tap = new Tap(engine, { name: options.tap, mtu: options.mtu, ...(options.netns !== undefined && { namespace: options.netns }) });
  const host = new Host(engine, {
    seed: (process.pid ^ Math.floor(Date.now() / 1000)) >>> 0,
    interfaces: [{ name: options.tap, addresses, probe: options.probe ?? false, nic: { mtu: options.mtu } }],
    onAddress: (iface, own) => {
      say(`${own.address.toString()}  ${own.state === 'preferred' ? 'in use' : `is another station's: not used (${iface.name})`}`);
    },
    onConflict: (_iface, address) => {
      say(`${address.toString()}  is also used by another station`);
    },
  });
  const recorder = options.pcap === undefined ? undefined : new Recorder(engine, options.pcap);
  recorder?.add(host.nics[0], options.tap);
  const link = new Link(engine, host.nics[0], tap);
  for (const gateway of options.gateway) {
    const family = gateway.includes(':') ? 6 : 4;
    host.stack.addRoute(DEFAULT_ROUTE[family], gateway);
  }
  let echo: UdpSocket | undefined;
  const ended = new Promise<void>((resolve) => {
    process.once('SIGINT', resolve).once('SIGTERM', resolve);
    if (options.seconds !== undefined) setTimeout(resolve, options.seconds * 1e3).unref();
  });
  let ticker: NodeJS.Timeout | undefined;
  try {
    host.start();
    await Promise.race([host.ready(), ended]);
    if (options.echo !== undefined) {
      echo = host.openUdp({
        port: options.echo,
        onDatagrams: (batch, socket) => {
          for (let i = batch.from; i < batch.to; i++) socket.reply(batch, i);
        },
      });
      say(`UDP echo on port ${options.echo} (RFC 862)`);
    }
    say(`station ${host.interfaces[0].driver.mac}, MTU ${options.mtu}; Ctrl-C ends`);
    if (process.stdout.isTTY && options.json !== true) {
      ticker = setInterval(() => {
        const now = counts(host, tap, echo);
        process.stdout.write(`\r\x1b[Kin ${now.framesIn} frames, out ${now.framesOut}, ICMP ${host.stack.icmp.counters.received}, UDP ${host.stack.udp.counters.received}, echoed ${now.echoed}`);
      }, 500);
    }
    await ended;
  } finally {
    clearInterval(ticker);
    const last = counts(host, tap, echo);
    link.close();
    host.stop();
    tap.close();
    recorder?.close();
    if (ticker !== undefined) process.stdout.write('\n');
    if (options.json === true) {
      console.log(JSON.stringify(last));
    } else {
      say(`in ${last.framesIn} frames, out ${last.framesOut}, echoed ${last.echoed}`);
      for (const name of ['ip', 'icmp', 'udp', 'reassembly'] as const) {
        const words = nonZero(last[name]);
        if (words !== '') say(`  ${name}: ${words}`);
      }
      if (options.pcap !== undefined) say(`frames: ${options.pcap}`);
    }
  }
}

export function hostCommand(): Command {
  return new Command('host')
    .description("A user-level host on the kernel's doorstep: a TAP, a card, a stack. It answers ARP, neighbour discovery and ping, and UDP echo where asked.")
    .requiredOption('--tap <name>', "the kernel's interface; made here (CAP_NET_ADMIN), or beforehand for this user")
    .option('--netns <name>', 'the network namespace that the interface lies in')
    .option('--ip <address/length>', 'an IPv4 address of the host, as 198.18.0.2/24; may be given again', collect, [])
    .option('--ip6 <address/length>', 'an IPv6 address, besides the link-local one and those of routers', collect, [])
    .option('--gateway <address>', 'a router for all that is not on the link; one for each family', collect, [])
    .option('--echo <port>', 'answers UDP datagrams to this port with themselves', port)
    .option('--pcap <file>', 'records all frames, pcapng')
    .addOption(new Option('--mtu <bytes>', 'of the interface and the host').default(1500).argParser(mtu))
    .option('--probe', 'looks whether an IPv4 address is taken before it uses it (RFC 5227), some 6 s')
    .option('--seconds <n>', 'ends by itself after that long', seconds)
    .option('--json', 'prints the counters at the end, for machines, and nothing else')
    .addHelpText(
      'after',
      `
Example, in a network namespace of its own (as root):
  ip netns add blue
  ringcube host --tap rc0 --netns blue --ip 198.18.0.2/24 --ip6 fd00::2/64 --echo 7 &
  ip -n blue addr add 198.18.0.1/24 dev rc0
  ip netns exec blue ping 198.18.0.2`,
    )
    .action(async (options: HostCommandOptions) => {
      try {
        await run(options);
      } catch (error) {
        throw error instanceof RingcubeError && error.code === 'ERR_SYSTEM' ? new RingcubeError('ERR_SYSTEM', `host: ${error.message}`) : error;
      }
    });
}
