import { Command } from 'commander';
import { type UdpSocket } from '../stack/index.js';
import { port, seconds } from './numbers.js';
import { nonZero, said, TapHost, type TapHostOptions, untilEnded, withTapOptions } from './tap-host.js';

interface HostCommandOptions extends TapHostOptions {
  echo?: number;
  seconds?: number;
  json?: boolean;
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

function counts(tapHost: TapHost, echo: UdpSocket | undefined): Counts {
  const { host } = tapHost;
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
    tap: tapHost.tapCounters() ?? {},
  };
}

async function run(options: HostCommandOptions): Promise<void> {
  const say = (line: string): void => {
    if (options.json !== true) console.log(line);
  };
  const tapHost = new TapHost(options, say);
  const { host } = tapHost;
  let echo: UdpSocket | undefined;
  const ended = untilEnded(options.seconds);
  let ticker: NodeJS.Timeout | undefined;
  let last: Counts | undefined;
  try {
    tapHost.plug();
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
        const now = counts(tapHost, echo);
        process.stdout.write(`\r\x1b[Kin ${now.framesIn} frames, out ${now.framesOut}, ICMP ${host.stack.icmp.counters.received}, UDP ${host.stack.udp.counters.received}, echoed ${now.echoed}`);
      }, 500);
    }
    await ended;
    last = counts(tapHost, echo);
  } finally {
    clearInterval(ticker);
    tapHost.close();
    if (ticker !== undefined) process.stdout.write('\n');
  }
  if (options.json === true) {
    console.log(JSON.stringify(last));
    return;
  }
  say(`in ${last.framesIn} frames, out ${last.framesOut}, echoed ${last.echoed}`);
  for (const name of ['ip', 'icmp', 'udp', 'reassembly'] as const) {
    const words = nonZero(last[name]);
    if (words !== '') say(`  ${name}: ${words}`);
  }
  if (options.pcap !== undefined) say(`frames: ${options.pcap}`);
}

export function hostCommand(): Command {
  const command = new Command('host')
    .description("A user-level host on the kernel's doorstep: a TAP, a card, a stack. It answers ARP, neighbour discovery and ping, and UDP echo where asked.")
    .requiredOption('--tap <name>', "the kernel's interface; made here (CAP_NET_ADMIN), or beforehand for this user");
  return withTapOptions(command)
    .option('--echo <port>', 'answers UDP datagrams to this port with themselves', port)
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
    .action((options: HostCommandOptions) => said('host', () => run(options)));
}
