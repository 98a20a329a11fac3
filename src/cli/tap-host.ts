// What the commands share that put a host on an interface of the kernel's: their options, the host, its wire, and how they end.
import { type Command, Option } from 'commander';
import { invalid, Prefix, RingcubeError } from '../base/index.js';
import { Host, type HostOptions } from '../host/index.js';
import { Engine, Link, Recorder, Tap, type TapCounters } from '../nic/index.js';
import { onInterrupt } from './interrupt.js';
import { wholeNumber } from './numbers.js';

export interface TapHostOptions {
  tap: string;
  netns?: string;
  ip: string[];
  ip6: string[];
  gateway: string[];
  pcap?: string;
  mtu: number;
  probe?: boolean;
}

const DEFAULT_ROUTE = { 4: '0.0.0.0/0', 6: '::/0' } as const;

/** An option that may be given again. */
export function repeated(flags: string, description: string, parse: (text: string) => unknown = (text) => text): Option {
  return new Option(flags, description).default([], 'none').argParser((text: string, all: unknown[]) => [...all, parse(text)]);
}

/** The options of a host on a TAP; `--tap` itself is the command's to declare. */
export function withTapOptions(command: Command): Command {
  return command
    .option('--netns <name>', 'the network namespace that the interface lies in')
    .addOption(repeated('--ip <address/length>', 'an IPv4 address of the host, as 198.18.0.2/24; may be given again'))
    .addOption(repeated('--ip6 <address/length>', 'an IPv6 address, besides the link-local one and those of routers'))
    .addOption(repeated('--gateway <address>', 'a router for all that is not on the link; one for each family'))
    .option('--pcap <file>', 'records all frames, pcapng')
    .addOption(new Option('--mtu <bytes>', 'of the interface and the host').default(1500).argParser(wholeNumber(1280, 65000)))
    .option('--probe', 'looks whether an IPv4 address is taken before it uses it (RFC 5227), some 6 s');
}

/** An address given for one family must be of it. */
function checked(texts: readonly string[], family: 4 | 6, flag: string): readonly string[] {
  for (const text of texts) if (Prefix.parse(text).address.family !== family) throw invalid(flag, text, `an IPv${family} address with its prefix length`);
  return texts;
}

/** A host with one card, at the other end of whose wire is an interface of the kernel's. */
export class TapHost {
  readonly host: Host;
  private tap: Tap | undefined;
  private link: Link | undefined;
  private recorder: Recorder | undefined;
  /** Of addresses, while the host is on no wire. */
  private unsaid: string[] | undefined = [];

  /** Not on the wire yet: that is plug(). */
  constructor(
    private readonly options: TapHostOptions,
    private readonly say: (line: string) => void,
    more: Omit<HostOptions, 'interfaces' | 'seed' | 'onAddress' | 'onConflict'> = {},
  ) {
    const { tap: name, ip, ip6, mtu, probe = false } = options;
    const addresses = [...checked(ip, 4, '--ip'), ...checked(ip6, 6, '--ip6')];
    const tell = (line: string): void => {
      if (this.unsaid === undefined) say(line);
      else this.unsaid.push(line);
    };
    this.host = new Host(new Engine(), {
      ...more,
      seed: (process.pid ^ Math.floor(Date.now() / 1000)) >>> 0,
      interfaces: [{ name, addresses, probe, nic: { mtu } }],
      onAddress: (iface, own) => {
        tell(`${own.address.toString()}  ${own.state === 'preferred' ? 'in use' : `is another station's: not used (${iface.name})`}`);
      },
      onConflict: (_iface, address) => {
        tell(`${address.toString()}  is also used by another station`);
      },
    });
  }

  plug(): void {
    const { host, options } = this;
    const { engine } = host;
    const { tap: name, netns, gateway: gateways, pcap, mtu } = options;
    this.tap = new Tap(engine, { name, mtu, ...(netns !== undefined && { namespace: netns }) });
    if (pcap !== undefined) {
      this.recorder = new Recorder(engine, pcap);
      this.recorder.add(host.nics[0], name);
    }
    this.link = new Link(engine, host.nics[0], this.tap);
    for (const line of this.unsaid ?? []) this.say(line);
    this.unsaid = undefined;
    for (const gateway of gateways) host.stack.addRoute(DEFAULT_ROUTE[gateway.includes(':') ? 6 : 4], gateway);
    host.start();
  }

  /** Of the interface, once it is plugged in. */
  tapCounters(): TapCounters | undefined {
    return this.tap?.counters();
  }

  close(): void {
    this.link?.close();
    this.host.stop();
    this.tap?.close();
    this.recorder?.close();
  }
}

/** Resolves at Ctrl-C or SIGTERM, or after that many seconds. */
export function untilEnded(afterS: number | undefined): Promise<void> {
  return new Promise((resolve) => {
    onInterrupt(resolve);
    if (afterS !== undefined) setTimeout(resolve, afterS * 1e3).unref();
  });
}

/** Counters that are not zero, as words. */
export function nonZero(group: object): string {
  return Object.entries(group)
    .filter((entry): entry is [string, number] => typeof entry[1] === 'number' && entry[1] !== 0)
    .map(([name, value]) => `${name} ${Math.round(value)}`)
    .join(', ');
}

/** What the kernel refuses, as a line that says which command met it. */
export async function said(command: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    throw error instanceof RingcubeError && error.code === 'ERR_SYSTEM' ? new RingcubeError('ERR_SYSTEM', `${command}: ${error.message}`) : error;
  }
}
