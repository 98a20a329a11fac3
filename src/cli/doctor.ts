// What this machine can do for Ringcube, found out by trying where that leaves no trace, else by what the kernel says.
import { spawnSync } from 'node:child_process';
import { accessSync, closeSync, constants, openSync, readFileSync, readdirSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';
import { delimiter, join } from 'node:path';
import { humanize } from '../report/index.js';
// Not the entry: that needs the addon, whose absence is to be diagnosed here.
import { NetworkNamespace } from '../testing/namespace.js';

export interface Check {
  name: string;
  ok: boolean;
  /** What was found, one line. */
  reason: string;
  /** What would help, one line: a command wherever one does. */
  remedy?: string;
}

const NODE_MAJOR_MIN = 20;
const CORES_MIN = 2;
/** The region of a card with default options. */
const LOCKED_BYTES_MIN = 2 ** 23;
const TRY_TIMEOUT_MS = 20_000;
const HUGEPAGES = '/sys/kernel/mm/hugepages';
const TUN = '/dev/net/tun';

/** What the core needs of C++20 and what compilers came by last. */
const CXX20_PROBE = '#include <atomic>\n#include <span>\nint load(std::span<int> s) { return std::atomic_ref<int>(s[0]).load(); }\n';

/** Bits of CapEff, linux/capability.h. */
const CAPABILITIES = { CAP_NET_ADMIN: 12, CAP_NET_RAW: 13, CAP_IPC_LOCK: 14, CAP_SYS_ADMIN: 21, CAP_SYS_NICE: 23, CAP_BPF: 39 };
type Capability = keyof typeof CAPABILITIES;

/** The peers of the interop tests, and the Debian packages that bring them. */
const TEST_TOOLS: readonly (readonly [command: string, debianPackage: string])[] = [
  ['ping', 'iputils-ping'],
  ['arping', 'iputils-arping'],
  ['mtr', 'mtr-tiny'],
  ['traceroute', 'traceroute'],
  ['nping', 'nmap'],
  ['socat', 'socat'],
  ['ncat', 'ncat'],
  ['rdisc6', 'ndisc6'],
  ['ffmpeg', 'ffmpeg'],
  ['radvd', 'radvd'],
  ['tshark', 'tshark'],
  ['tcpreplay', 'tcpreplay'],
  ['python3', 'python3'],
];

/** All checks, in the order in which one needs what they check. */
export async function examine(): Promise<Check[]> {
  return [
    node(),
    await addon(),
    cores(),
    compiler(),
    buildTools(),
    tap(),
    networkNamespaces(),
    afXdp(),
    hugepages(),
    fifo(),
    deadline(),
    lockedMemory(),
    testTools(),
  ];
}

function able(name: string, reason: string): Check {
  return { name, ok: true, reason };
}

function lacking(name: string, reason: string, remedy: string): Check {
  return { name, ok: false, reason, remedy };
}

/** Splits a line that says its remedy after its last semicolon. */
function lackingAsSaid(name: string, line: string): Check {
  const cut = line.lastIndexOf('; ');
  return lacking(name, line.slice(0, cut), line.slice(cut + 2));
}

/** The text of a file of the kernel's; empty where it can't be read. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Runs a command; whether it succeeded, and the first line of what it said. */
function tried(command: string, args: readonly string[], input = ''): { ok: boolean; found: boolean; said: string } {
  const { error, status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', input, timeout: TRY_TIMEOUT_MS });
  const found = (error as NodeJS.ErrnoException | undefined)?.code !== 'ENOENT';
  const text = error === undefined ? stdout || stderr : found ? error.message : `${command} is not there`;
  return { ok: status === 0, found, said: text.trim().split('\n', 1)[0] };
}

function onPath(command: string): string | undefined {
  const places = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, command));
  return places.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function has(capability: Capability): boolean {
  const effective = /^CapEff:\s*(\w+)$/m.exec(read('/proc/self/status'))?.[1] ?? '0';
  return ((BigInt(`0x${effective}`) >> BigInt(CAPABILITIES[capability])) & 1n) === 1n;
}

/** Whether a capability counts for the machine, not only for what a user namespace owns (user_namespaces(7)). */
function hasForMachine(capability: Capability): boolean {
  return has(capability) && /^\s*0\s+0\s+4294967295\s*$/.test(read('/proc/self/uid_map'));
}

/** A soft limit of getrlimit(2), by its name in /proc/self/limits. */
function limit(name: string): number {
  const soft = new RegExp(`^${name} +(\\S+)`, 'm').exec(read('/proc/self/limits'))?.[1] ?? '0';
  return soft === 'unlimited' ? Infinity : Number(soft);
}

function node(): Check {
  const fits = Number(process.versions.node.split('.')[0]) >= NODE_MAJOR_MIN;
  if (!fits) return lacking('Node', `${process.version} is too old`, `install Node ${NODE_MAJOR_MIN} or later`);
  return able('Node', process.version);
}

async function addon(): Promise<Check> {
  try {
    await import('../nic/index.js');
    return able('addon', 'loads');
  } catch (error) {
    return lackingAsSaid('addon', (error as Error).message);
  }
}

function cores(): Check {
  const count = availableParallelism();
  if (count < CORES_MIN) {
    return lacking('cores', `${count}: the engine's thread and yours share it`, 'give this process a second one (taskset, cpuset)');
  }
  return able('cores', `${count}, of which the engine's thread takes one`);
}

function compiler(): Check {
  const chosen = process.env['CXX'];
  const attempts = (chosen === undefined ? ['g++', 'clang++'] : [chosen]).map((command) => ({
    command,
    ...tried(command, ['-std=c++20', '-fsyntax-only', '-x', 'c++', '-'], CXX20_PROBE),
  }));
  const good = attempts.find(({ ok }) => ok);
  if (good === undefined) {
    const remedy = 'apt-get install g++ (11 or later; or clang 14 or later, with CXX=clang++)';
    return lacking('compiler', `none for C++20: ${attempts.map(({ command, found, said }) => (found ? `${command}: ${said}` : said)).join(', ')}`, remedy);
  }
  const hint = good.command === 'clang++' && chosen === undefined ? '; build with CXX=clang++' : '';
  return able('compiler', `C++20 by ${tried(good.command, ['--version']).said}${hint}`);
}

function buildTools(): Check {
  const missing = ['make', 'python3'].filter((command) => !tried(command, ['--version']).ok);
  if (missing.length > 0) return lacking('build tools', `no ${missing.join(', no ')}`, `apt-get install ${missing.join(' ')}`);
  return able('build tools', 'make, and python3 for node-gyp');
}

function tap(): Check {
  try {
    closeSync(openSync(TUN, 'r+'));
  } catch (error) {
    const remedy = `modprobe tun; in a container: --device ${TUN} --cap-add NET_ADMIN`;
    return lacking('TAP', `${TUN} can't be opened (${(error as NodeJS.ErrnoException).code})`, remedy);
  }
  if (!has('CAP_NET_ADMIN')) {
    const remedy = 'run as root, or have root make an interface of yours: ip tuntap add NAME mode tap user $USER';
    return lacking('TAP', `${TUN} is there, but CAP_NET_ADMIN is not`, remedy);
  }
  return able('TAP', `${TUN} opens, and CAP_NET_ADMIN is there`);
}

function networkNamespaces(): Check {
  const line = NetworkNamespace.unavailable();
  return line === undefined ? able('network namespaces', 'made one and removed it') : lackingAsSaid('network namespaces', line);
}

function afXdp(): Check {
  const protocols = read('/proc/net/protocols');
  if (protocols === '') return lacking('AF_XDP', "unknown: /proc/net/protocols can't be read", 'mount /proc');
  if (!/^XDP\s/m.test(protocols)) {
    return lacking('AF_XDP', `not in this kernel (${release()})`, 'run Linux 4.18 or later, built with CONFIG_XDP_SOCKETS');
  }
  const missing: string[] = (['CAP_NET_RAW', 'CAP_NET_ADMIN'] as const).filter((capability) => !hasForMachine(capability));
  if (!hasForMachine('CAP_BPF') && !hasForMachine('CAP_SYS_ADMIN')) missing.push('CAP_BPF');
  if (missing.length > 0) {
    return lacking('AF_XDP', `in this kernel (${release()}), but not allowed without ${missing.join(', ')}`, 'run as root, or with these capabilities');
  }
  return able('AF_XDP', `in this kernel (${release()}), and allowed; zero copy depends on the interface's driver`);
}

function hugepages(): Check {
  let folders: string[] = [];
  try {
    folders = readdirSync(HUGEPAGES);
  } catch {
    return lacking('hugepages', `no ${HUGEPAGES}`, 'run a kernel built with CONFIG_HUGETLBFS');
  }
  const sizes = folders
    .map((folder) => ({
      kib: Number(/\d+/.exec(folder)?.[0]),
      total: Number(read(`${HUGEPAGES}/${folder}/nr_hugepages`)),
      free: Number(read(`${HUGEPAGES}/${folder}/free_hugepages`)),
    }))
    .sort((a, b) => a.kib - b.kib);
  const reason = sizes.map(({ kib, total, free }) => `${humanize(kib * 1024, 'B')}: ${free} of ${total} free`).join(', ');
  if (sizes.some(({ free }) => free > 0)) return able('hugepages', reason);
  return lacking('hugepages', reason, 'as root: sysctl -w vm.nr_hugepages=64');
}

function fifo(): Check {
  const { ok, found, said } = tried('chrt', ['--fifo', '1', 'true']);
  const remedy = 'run as root (CAP_SYS_NICE), or raise the limit: ulimit -r 99';
  if (found) return ok ? able('SCHED_FIFO', 'ran a command under it') : lacking('SCHED_FIFO', said, remedy);
  const allowed = hasForMachine('CAP_SYS_NICE') ? 'CAP_SYS_NICE' : limit('Max realtime priority') > 0 ? 'RLIMIT_RTPRIO' : undefined;
  if (allowed !== undefined) return able('SCHED_FIFO', `${allowed} allows it; not tried, for ${said}`);
  return lacking('SCHED_FIFO', 'neither CAP_SYS_NICE nor RLIMIT_RTPRIO allows it', remedy);
}

function deadline(): Check {
  const reservation = ['--sched-runtime', '100000', '--sched-deadline', '1000000', '--sched-period', '1000000'];
  const { ok, found, said } = tried('chrt', ['--deadline', ...reservation, '0', 'true']);
  if (ok) return able('SCHED_DEADLINE', 'ran a command under it');
  if (!found) return lacking('SCHED_DEADLINE', `unknown: ${said} to try it`, 'apt-get install util-linux');
  return lacking('SCHED_DEADLINE', said, 'run as root (CAP_SYS_NICE), on a kernel with real-time bandwidth to spare');
}

function lockedMemory(): Check {
  if (hasForMachine('CAP_IPC_LOCK')) return able('locked memory', 'unlimited, by CAP_IPC_LOCK');
  const bytes = limit('Max locked memory');
  if (bytes === Infinity) return able('locked memory', 'unlimited');
  const reason = `at most ${humanize(bytes, 'B')}`;
  if (bytes >= LOCKED_BYTES_MIN) return able('locked memory', `${reason}; a card's region has ${humanize(LOCKED_BYTES_MIN, 'B')}`);
  return lacking('locked memory', `${reason}, less than a card's region`, 'ulimit -l unlimited, or memlock in /etc/security/limits.conf');
}

function testTools(): Check {
  const absent = TEST_TOOLS.filter(([command]) => onPath(command) === undefined);
  const missing = absent.map(([command]) => command);
  const packages = absent.map(([, debianPackage]) => debianPackage);
  // Debian's own Python, which is what its package serves, whatever comes first on the PATH.
  if (onPath('python3') === undefined || !tried('/usr/bin/python3', ['-c', 'import scapy']).ok) {
    missing.push('scapy for /usr/bin/python3');
    packages.push('python3-scapy');
  }
  if (missing.length === 0) return able('test tools', 'all there');
  return lacking('test tools', `missing: ${missing.join(', ')}`, `apt-get install ${packages.join(' ')}`);
}
