import { randomInt } from 'node:crypto';
import { closeSync, copyFileSync, openSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RingcubeError, invalid } from '../base/index.js';
import { Host, type HostInterfaceOptions, type HostOptions } from '../host/index.js';
import { Engine, Link, type LinkOptions, Recorder, Tap } from '../nic/index.js';
import { NetworkNamespace } from './namespace.js';

const INTERFACE = 'rc0';
// Of bytes that no host's default address begins with, and the link-local address made from it (RFC 4291 appendix A).
const KERNEL_MAC = '06:00:00:00:00:01';
const KERNEL_LINK_LOCAL = 'fe80::400:ff:fe00:1/64';
const KERNEL_ADDRESSES = ['198.18.0.1/24', 'fd00::1/64'];
const HOST_ADDRESSES = ['198.18.0.2/24', 'fd00::2/64'];
/** More than any detection of duplicate addresses takes (RFC 5227 §1.1: some 6 s). */
const READY_MS = 15_000;
const POLL_MS = 5;
const CAPTURES = ['on failure', 'always', 'never'] as const;

/** A host with one card: its own options, and the card's and interface's. */
export interface TestHostOptions extends Omit<HostOptions, 'interfaces' | 'seed'>, HostInterfaceOptions {}

export interface TestNetworkOptions {
  /**
   * Of the link's faults and of the host: 0 to 2^32 - 1; default: RINGCUBE_SEED of the environment, else a random one. With the same
   * seed, the nth frame of each direction meets the same fate.
   */
  seed?: number;
  /** What the wire does to frames from the host to the kernel, and `back`; default: nothing. */
  link?: Omit<LinkOptions, 'seed'>;
  /** Addresses on the kernel's side; default 198.18.0.1/24 and fd00::1/64. With none of IPv6, the kernel speaks no IPv6 there. */
  kernel?: { addresses?: readonly string[] };
  /**
   * The user-level host; its addresses are by default 198.18.0.2/24 and fd00::2/64, which it uses at once: nobody else is on the wire,
   * so that `dadTransmits` is 0 unless given.
   */
  host?: TestHostOptions;
  /** Whether all frames of the host's card are kept in a pcapng file; default 'on failure'. */
  capture?: (typeof CAPTURES)[number];
  /** Where that file is put; default: the system's folder for temporary files. */
  captureFolder?: string;
  /** Of the namespace's name: NetworkNamespace.create(). */
  prefix?: string;
}

/**
 * A network for one test: a namespace with an interface of the kernel's in it, a link, and a host at user level at its other end.
 *
 *     the kernel in `namespace` ─ `tap` ──── `link` ──── `host`, all its frames recorded
 */
export interface TestNetwork {
  readonly seed: number;
  readonly namespace: NetworkNamespace;
  readonly engine: Engine;
  /** The kernel's interface is `tap.name` there. */
  readonly tap: Tap;
  /** Its counters are those of the way from the host to the kernel, and of the way back. */
  readonly link: Link;
  readonly host: Host;
  /**
   * Ends all of it, what was started in the namespace first. Resolves to a line for whoever ran the test, which tells the seed and
   * where the capture is, if `failed` is true or a capture is kept. Calling it again waits for the same.
   */
  close(outcome?: { failed?: boolean }): Promise<string | undefined>;
}

function chosenSeed(option: number | undefined): number {
  const environment = process.env['RINGCUBE_SEED'];
  if (option === undefined && environment === undefined) return randomInt(2 ** 32);
  const seed = option ?? (/^\d+$/.test(environment!) ? Number(environment) : NaN);
  if (Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32) return seed;
  throw invalid(option === undefined ? 'RINGCUBE_SEED' : 'seed', option ?? environment, 'a whole number from 0 to 4294967295');
}

const isIpv6 = (address: string): boolean => address.includes(':');

/** Records into a file, which is only seen if it is kept: a test that is killed leaves none, but for capture 'always'. */
class Capture {
  private readonly recorder: Recorder;
  private readonly descriptor: number;

  constructor(
    host: Host,
    readonly path: string,
    private readonly always: boolean,
  ) {
    this.recorder = new Recorder(host.engine, path);
    this.recorder.add(host.nics[0], host.interfaces[0].name);
    this.descriptor = openSync(path, 'r');
    if (!always) unlinkSync(path);
  }

  /** Whether it is at `path` from now on. */
  close(failed: boolean): boolean {
    this.recorder.close();
    try {
      if (failed && !this.always) copyFileSync(`/proc/self/fd/${this.descriptor}`, this.path);
    } finally {
      closeSync(this.descriptor);
    }
    return failed || this.always;
  }
}

/** Gives the kernel's side its addresses, before it has a carrier: so it announces nothing, and looks for nobody. */
async function address(namespace: NetworkNamespace, addresses: readonly string[]): Promise<void> {
  const all = addresses.some(isIpv6) ? [...addresses, KERNEL_LINK_LOCAL] : addresses;
  const commands = [
    // A link-local address that the kernel made would be in use only seconds later.
    `link set dev ${INTERFACE} addrgenmode none`,
    ...all.map((one) => `address add ${one} dev ${INTERFACE}${isIpv6(one) ? ' nodad' : ''}`),
  ];
  await namespace.exec('ip', ['-batch', '-'], { input: commands.join('\n') });
}

/** Waits until all addresses of the host are in use and the kernel uses its carrier. */
async function ready(host: Host, namespace: NetworkNamespace): Promise<void> {
  const deadline = Date.now() + READY_MS;
  await Promise.race([host.ready(), sleep(READY_MS, undefined, { ref: false })]);
  let missing = host.interfaces
    .flatMap(({ addresses }) => addresses.filter(({ state }) => state !== 'preferred'))
    .map((own) => `the host's address ${own.address.toString()} is ${own.state}, must be free on this link`);
  while (missing.length === 0) {
    const { stdout } = await namespace.exec('ip', ['-oneline', 'link', 'show', 'dev', INTERFACE]);
    if (stdout.includes(' state UP ')) return;
    if (Date.now() > deadline) missing = [`the kernel's interface has no carrier: ${stdout.trim()}`];
    else await sleep(POLL_MS);
  }
  throw new RingcubeError('ERR_SYSTEM', `network not ready, waited up to ${READY_MS} ms: ${missing.join('; ')}`);
}

/**
 * Makes a network for a test, up and ready on both sides. Whoever calls this calls close(); withNetwork() does by itself.
 * Throws ERR_UNSUPPORTED where NetworkNamespace.unavailable() gives a reason or TAPs can't be made, and leaves nothing behind then.
 */
export async function testNetwork(options: TestNetworkOptions = {}): Promise<TestNetwork> {
  const { link: faults = {}, kernel = {}, host: hostOptions = {}, capture = 'on failure', captureFolder = tmpdir(), prefix } = options;
  const seed = chosenSeed(options.seed);
  if (!CAPTURES.includes(capture)) throw invalid('capture', capture, CAPTURES.join(', '));

  const namespace = await NetworkNamespace.create(prefix === undefined ? {} : { prefix });
  const made: { close(): void }[] = [];
  const opened = <T extends { close(): void }>(one: T): T => {
    made.unshift(one);
    return one;
  };
  let recorded: Capture | undefined;
  const end = async (failed: boolean): Promise<string | undefined> => {
    try {
      await namespace.close();
    } finally {
      for (const one of made) one.close();
    }
    const kept = recorded?.close(failed) === true;
    if (!failed && !kept) return undefined;
    return `RINGCUBE_SEED=${seed} repeats the faults of the link${kept ? `; its frames are in ${recorded!.path}` : ''}`;
  };

  try {
    const engine = new Engine();
    const tap = opened(new Tap(engine, { name: INTERFACE, namespace: namespace.name, mac: KERNEL_MAC }));
    const addresses = HOST_ADDRESSES.filter((one) => hostOptions.ipv6 !== false || !isIpv6(one));
    const host = new Host(engine, { ...hostOptions, seed, interfaces: [{ addresses, dadTransmits: 0, ...hostOptions }] });
    opened({ close: () => host.stop() });
    if (capture !== 'never') {
      recorded = new Capture(host, resolve(captureFolder, `${namespace.name}-seed-${seed}.pcapng`), capture === 'always');
    }
    await address(namespace, kernel.addresses ?? KERNEL_ADDRESSES);
    const link = opened(new Link(engine, host.nics[0], tap, { ...faults, seed }));
    host.start();
    await ready(host, namespace);

    let closing: Promise<string | undefined> | undefined;
    return { seed, namespace, engine, tap, link, host, close: ({ failed = false } = {}) => (closing ??= end(failed)) };
  } catch (error) {
    await end(false);
    throw error;
  }
}

/** Adds a line to what was thrown, where every test framework shows it. */
function withLine(thrown: unknown, line: string): Error {
  if (!(thrown instanceof Error)) return new Error(`${String(thrown)}\n${line}`, { cause: thrown });
  // It has a copy of the message ahead of the first frame, made when it is read first.
  const { stack } = thrown;
  thrown.message += `\n${line}`;
  if (stack !== undefined) thrown.stack = stack.replace(/^[^]*?(?=\n {4}at |$)/, (head) => `${head}\n${line}`);
  return thrown;
}

/** Rejects after a time, unless told before that it is of no use any more. */
async function overdue(timeoutMs: number, signal: AbortSignal): Promise<never> {
  await sleep(timeoutMs, undefined, { signal });
  throw new RingcubeError('ERR_SYSTEM', `the test took longer than ${timeoutMs} ms`);
}

/**
 * Runs `body` in a network of its own, which is gone when this settles. If it throws, its error gets a line more, which tells the
 * seed and where the capture is. Pass `t` where a failed assertion doesn't throw, as in tap: the line then goes to stderr.
 *
 * @param options.timeoutMs after which `body` has failed; default: none. To be less than the framework's own, which tells no seed.
 */
export async function withNetwork<T>(
  options: TestNetworkOptions & { timeoutMs?: number },
  body: (net: TestNetwork) => T | Promise<T>,
  t?: { passing(): boolean },
): Promise<T> {
  const { timeoutMs } = options;
  if (timeoutMs !== undefined && !(timeoutMs > 0 && timeoutMs < 2 ** 31)) {
    throw invalid('timeoutMs', timeoutMs, 'more than 0 and less than 2^31 milliseconds');
  }
  const net = await testNetwork(options);
  const ended = new AbortController();
  let result: T;
  try {
    const going = body(net);
    result = await (timeoutMs === undefined ? going : Promise.race([going, overdue(timeoutMs, ended.signal)]));
  } catch (error) {
    throw withLine(error, (await net.close({ failed: true }))!);
  } finally {
    ended.abort();
  }
  const line = await net.close({ failed: t?.passing() === false });
  if (line !== undefined) process.stderr.write(`${line}\n`);
  return result;
}
