// What the tests of this folder share: a host of ours whose neighbours are Linux kernels, one in each network namespace, and
// a look by tshark at every frame that went by. On side i the kernel is 198.18.i.1 and fd00:i::1 at KERNEL_MAC, and we are
// 198.18.i.2 and fd00:i::2 at HOST_MAC, on an interface that the kernel calls tap0. Both ends are made by the test.
import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Test } from 'tap';
import { Host, type HostInterfaceOptions, type HostOptions } from '../../src/host/index.js';
import { Engine, Link, Recorder, Tap, type TapOptions } from '../../src/nic/index.js';
import { type ExecOptions, type ExecResult, NetworkNamespace } from '../../src/testing/index.js';
import { scratch, until } from '../lifecycle/machine.js';

export { until };

export const KERNEL_MAC = '02:00:00:00:00:0b';
export const HOST_MAC = '02:00:00:00:00:0a';
/** Of frames that a test builds wrong on purpose. */
export const ODD_MAC = '02:00:00:00:00:66';

/** Debian's own interpreter: python3-scapy serves no other. */
export const PYTHON = '/usr/bin/python3';

/** The Debian package that brings a command, where it is called otherwise. */
const PACKAGES: Record<string, string> = {
  ip: 'iproute2', nstat: 'iproute2', ping: 'iputils-ping', arping: 'iputils-arping', mtr: 'mtr-tiny', nping: 'nmap', ndisc6: 'ndisc6', rdisc6: 'ndisc6',
};

/** What this machine lacks for a test that runs these commands, or `scapy`, and how to get it; false if nothing. */
export function lacking(...commands: string[]): string | false {
  const namespaces = NetworkNamespace.unavailable();
  if (namespaces !== undefined) return namespaces;
  if (!existsSync('/dev/net/tun')) return '/dev/net/tun is missing; modprobe tun, or give it to the container';
  for (const command of ['tshark', ...commands]) {
    const there =
      command === 'scapy' ? spawnSync(PYTHON, ['-c', 'import scapy.all']).status === 0 : spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
    if (!there) return `${command} is not there; apt-get install ${command === 'scapy' ? 'python3-scapy' : (PACKAGES[command] ?? command)}`;
  }
  return false;
}

export interface PeerOptions {
  host?: Omit<HostOptions, 'interfaces'>;
  /** How many namespaces, or what is special about each; default 1. */
  sides?: readonly SideOptions[];
}

export interface SideOptions {
  interface?: HostInterfaceOptions;
  tap?: Partial<TapOptions>;
  /** Of the kernel's end, under /proc/sys/net/, before it has addresses. */
  sysctls?: Record<string, string | number>;
}

/** A kernel next to us. */
export class Side {
  constructor(
    readonly namespace: NetworkNamespace,
    readonly tap: Tap,
  ) {}

  /** What a command line inside prints. Its words are told apart by single spaces. */
  async run(line: string, options?: ExecOptions): Promise<string> {
    return (await this.exec(line, options)).stdout.trim();
  }

  exec(line: string, options?: ExecOptions): Promise<ExecResult> {
    const [command, ...args] = line.split(' ');
    return this.namespace.exec(command, args, options);
  }

  python(lines: readonly string[], options?: ExecOptions): Promise<string> {
    return this.namespace.exec(PYTHON, ['-c', lines.join('\n')], options).then(({ stdout }) => stdout.trim());
  }

  async sysctl(path: string, value: string | number): Promise<void> {
    await this.namespace.exec('sh', ['-c', `echo ${value} > /proc/sys/net/${path}`]);
  }

  /** Waits until a command prints what matches, for what the kernel does in its own time. */
  async shows(line: string, pattern: RegExp, timeoutMs = 10_000): Promise<string> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const shown = await this.run(line, { allowFailure: true });
      if (pattern.test(shown) || Date.now() > end) return shown;
      await sleep(50);
    }
  }
}

export class Peers {
  constructor(
    readonly host: Host,
    readonly sides: readonly Side[],
    private readonly capture: { path: string; recorder: Recorder },
  ) {}

  /** The only one, mostly. */
  get side(): Side {
    return this.sides[0];
  }

  /** Every counter of our stack by its name, as ip.badChecksum. */
  counters(): Record<string, number> {
    const { ip, icmp, udp, arp, nd } = this.host.stack;
    const groups = { ip: ip.counters, reassembly: ip.reassembly.counters, icmp: icmp.counters, udp: udp.counters, arp: arp.counters, nd: nd.counters };
    return Object.fromEntries(
      Object.entries(groups).flatMap(([group, counters]) => Object.entries(counters).map(([name, n]) => [`${group}.${name}`, n as number])),
    );
  }

  /** Fields of the frames recorded so far that a display filter of tshark's lets through. Stops recording. */
  async recorded(filter: string, ...fields: string[]): Promise<string[]> {
    this.capture.recorder.close();
    const checked = ['ip.check_checksum', 'udp.check_checksum'].flatMap((option) => ['-o', `${option}:TRUE`]);
    // Payloads are bytes, whatever protocol a port that happened to be free is known for.
    const args = ['-n', '-r', this.capture.path, ...checked, '-d', 'udp.port==1-65535,data', '-Y', filter, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])];
    const { stdout } = await promisify(execFile)('tshark', args, { maxBuffer: 2 ** 26, timeout: 60_000 });
    return stdout.split('\n').filter((line) => line !== '');
  }
}

/** What tshark finds wrong with a frame; but not with a UDP header that an ICMP error quotes, which is as it came, and mostly cut off. */
export const WRONG = ['_ws.malformed', ...['ip', 'icmp', 'icmpv6'].map((protocol) => `${protocol}.checksum.status == 0`), '(udp.checksum.status == 0 && !icmp && !icmpv6)'].join(' || ');

/**
 * A test beside kernels: makes them, runs `body`, holds all recorded frames, but those from ODD_MAC, against tshark (nothing
 * malformed, no wrong checksum), and removes everything.
 */
export function beside(options: PeerOptions, body: (t: Test, peers: Peers) => Promise<void>): (t: Test) => Promise<void> {
  return async (t) => {
    const { sides: wanted = [{}] } = options;
    const folder = scratch();
    const namespaces: NetworkNamespace[] = [];
    const open: { close: () => void }[] = [];
    try {
      const engine = new Engine();
      const host = new Host(engine, { ...options.host, interfaces: wanted.map(({ interface: own }, i) => hostInterface(i, own)) });
      open.push({ close: () => host.stop() });
      const path = folder.path('frames.pcapng');
      const recorder = new Recorder(engine, path);
      open.push(recorder);
      const sides: Side[] = [];
      for (const [i, side] of wanted.entries()) {
        const namespace = await NetworkNamespace.create();
        namespaces.push(namespace);
        const sysctls = { 'ipv6/conf/default/accept_dad': 0, 'ipv6/conf/default/accept_ra': 0, ...side.sysctls };
        await namespace.exec('sh', ['-c', Object.entries(sysctls).map(([name, value]) => `echo ${value} > /proc/sys/net/${name}`).join(' && ')]);
        const tap = new Tap(engine, { name: 'tap0', namespace: namespace.name, mac: KERNEL_MAC, ...side.tap });
        open.push(tap);
        recorder.add(host.nics[i], `side${i}`);
        open.push(new Link(engine, host.nics[i], tap, { pause: true }));
        await namespace.exec('ip', ['addr', 'add', `198.18.${i}.1/24`, 'dev', 'tap0']);
        await namespace.exec('ip', ['addr', 'add', `fd00:${i}::1/64`, 'dev', 'tap0', 'nodad']);
        sides.push(new Side(namespace, tap));
      }
      host.start();
      const peers = new Peers(host, sides, { path, recorder });
      await body(t, peers);
      const seen = await peers.recorded(`eth.src != ${ODD_MAC} && (${WRONG})`, 'frame.number', 'eth.src', '_ws.col.Protocol', '_ws.col.Info');
      t.same(seen, [], 'tshark finds nothing malformed and no wrong checksum');
    } finally {
      for (const one of open.reverse()) one.close();
      for (const namespace of namespaces) await namespace.close();
      folder.remove();
    }
  };
}

function hostInterface(i: number, own: HostInterfaceOptions = {}): HostInterfaceOptions {
  // Duplicate address detection takes a second, and has tests of its own.
  return { addresses: [`198.18.${i}.2/24`, `fd00:${i}::2/64`], dadTransmits: 0, ...own, nic: { mac: HOST_MAC, ...own.nic } };
}
