import { type ChildProcess, type SpawnOptions, execFile, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import { RingcubeError, invalid } from '../base/index.js';

const FOLDER = '/run/netns';
const DEFAULT_PREFIX = 'rc';
const COMMAND_TIMEOUT_MS = 30_000;
const TERM_GRACE_MS = 2000;
const KILL_GRACE_MS = 5000;
const POLL_MS = 10;
const MAX_OUTPUT_BYTES = 2 ** 26;

export interface ExecOptions {
  /** After this many milliseconds the command is killed, and exec() rejects. Default 30,000. */
  timeoutMs?: number;
  /** The command's standard input; default: empty. */
  input?: string;
  /** Whether an exit status other than 0 is an answer, not an error. Default false. */
  allowFailure?: boolean;
}

export interface ExecResult {
  stdout: string;
  stderr: string;
  status: number;
}

/**
 * A network namespace of one's own (network_namespaces(7)), with `lo` up, and gone afterwards whatever happens: close() removes it, and
 * so does the end of this process, be it by an exception. A process that a signal ended leaves it behind; the next create() with
 * this prefix, in any process, removes it and ends the processes in it.
 */
export class NetworkNamespace {
  static readonly #open = new Set<NetworkNamespace>();
  static #created = 0;
  static #verdict: { reason: string | undefined } | undefined;
  /** Closes all without waiting, as is the rule for handlers of 'exit'. */
  static readonly #removeAll = (): void => {
    for (const namespace of NetworkNamespace.#open) {
      for (const child of namespace.#children) child.kill('SIGKILL');
      spawnSync('ip', ['netns', 'delete', namespace.name], { stdio: 'ignore', timeout: KILL_GRACE_MS });
    }
  };

  readonly name: string;
  readonly path: string;
  readonly #children = new Set<ChildProcess>();
  #closing: Promise<void> | undefined;

  private constructor(prefix: string) {
    this.name = nextName(prefix, NetworkNamespace.#created++);
    this.path = pathOf(this.name);
  }

  /**
   * Makes a namespace named PREFIX-PID-STARTTIME-THREAD.N, once those of this prefix are removed whose process has ended.
   * Throws ERR_UNSUPPORTED where unavailable() gives a reason, ERR_SYSTEM where `ip` fails.
   *
   * @param options.prefix 1 to 32 lower-case letters and digits; default `rc`
   */
  static async create(options: { prefix?: string } = {}): Promise<NetworkNamespace> {
    const { prefix = DEFAULT_PREFIX } = options;
    if (!/^[a-z0-9]{1,32}$/.test(prefix)) throw invalid('prefix', prefix, '1 to 32 lower-case letters and digits');
    const reason = NetworkNamespace.unavailable();
    if (reason !== undefined) throw new RingcubeError('ERR_UNSUPPORTED', reason);
    await sweep(prefix);

    const namespace = new NetworkNamespace(prefix);
    if (NetworkNamespace.#open.size === 0) process.on('exit', NetworkNamespace.#removeAll);
    NetworkNamespace.#open.add(namespace);
    try {
      await ip(['netns', 'add', namespace.name]);
      await ip(['-n', namespace.name, 'link', 'set', 'lo', 'up']);
    } catch (error) {
      await namespace.close();
      throw error;
    }
    return namespace;
  }

  /**
   * Why namespaces can't be made here and, after a semicolon, what would help, in one line; `undefined` where they can be. A test takes
   * it as its reason to skip. Found out by making one, once.
   */
  static unavailable(): string | undefined {
    NetworkNamespace.#verdict ??= { reason: trial(nextName(DEFAULT_PREFIX, NetworkNamespace.#created++)) };
    return NetworkNamespace.#verdict.reason;
  }

  /**
   * Runs a command inside and waits for its end. Rejects with ERR_SYSTEM where it fails (see `allowFailure`), takes too long, is ended
   * by a signal or writes more than 64 MiB; with ERR_CLOSED after close().
   */
  async exec(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<ExecResult> {
    this.#checkOpen();
    return ip(['netns', 'exec', this.name, command, ...args], options, (child) => this.#track(child));
  }

  /** Starts a command inside, which close() will end. Its own children are its own to end. Throws ERR_CLOSED after close(). */
  spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): ChildProcess {
    this.#checkOpen();
    // `ip` replaces itself by the command: the pid is the command's own.
    const child = spawn('ip', ['netns', 'exec', this.name, command, ...args], options);
    this.#track(child);
    return child;
  }

  /** Ends what was started inside (SIGTERM, after 2 s SIGKILL), then removes the namespace. Calling it again waits for the same. */
  close(): Promise<void> {
    this.#closing ??= this.#remove();
    return this.#closing;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new RingcubeError('ERR_CLOSED', `namespace ${this.name}: already closed`);
  }

  #track(child: ChildProcess): void {
    if (child.pid === undefined) return; // it did not start; 'error' says why
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
  }

  async #remove(): Promise<void> {
    await Promise.all([...this.#children].map(end));
    await remove(this.name);
    NetworkNamespace.#open.delete(this);
    if (NetworkNamespace.#open.size === 0) process.off('exit', NetworkNamespace.#removeAll);
  }
}

function pathOf(name: string): string {
  return `${FOLDER}/${name}`;
}

/** A name that tells who owns it: a pid alone may be another process's by now. Each thread counts for itself. */
function nextName(prefix: string, count: number): string {
  return `${prefix}-${process.pid}-${startTicks(process.pid)}-${threadId}.${count}`;
}

/** When a process began, in clock ticks since boot: starttime of /proc/PID/stat, proc(5). `undefined` where it has ended. */
function startTicks(pid: number | string): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // Fields are counted from the state, the third, since the name before it may hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' ? undefined : fields[22 - 3];
}

/** Runs `ip` with these arguments. */
function ip(args: readonly string[], options: ExecOptions = {}, onStart?: (child: ChildProcess) => void): Promise<ExecResult> {
  const { timeoutMs = COMMAND_TIMEOUT_MS, input = '', allowFailure = false } = options;
  if (!(timeoutMs > 0 && timeoutMs < 2 ** 31)) throw invalid('timeoutMs', timeoutMs, 'more than 0 and less than 2^31 milliseconds');
  const limits = { signal: AbortSignal.timeout(Math.ceil(timeoutMs)), killSignal: 'SIGKILL', maxBuffer: MAX_OUTPUT_BYTES } as const;
  return new Promise((resolve, reject) => {
    const child = execFile('ip', [...args], limits, (error, stdout, stderr) => {
      const status = error === null ? 0 : error.code;
      if (status === 0 || (allowFailure && typeof status === 'number')) {
        resolve({ stdout, stderr, status });
        return;
      }
      let how = `ended with status ${status}`;
      if (status === 'ABORT_ERR') how = `took longer than ${timeoutMs} ms`;
      else if (typeof status === 'string') how = error!.message;
      else if (typeof status !== 'number') how = `ended by ${error!.signal ?? 'a signal'}`;
      const said = stderr.trim().split('\n', 1)[0];
      reject(new RingcubeError('ERR_SYSTEM', `ip ${args.join(' ')}: ${how}${said === '' ? '' : `: ${said}`}`));
    });
    onStart?.(child);
    // A command need not read its input.
    child.stdin!.on('error', () => undefined).end(input);
  });
}

/** Ends a process that we started: its handle, unlike its number, can't come to mean another one. */
async function end(child: ChildProcess): Promise<void> {
  for (const [signal, graceMs] of [['SIGTERM', TERM_GRACE_MS], ['SIGKILL', KILL_GRACE_MS]] as const) {
    if (!child.kill(signal)) return;
    const ended = await new Promise((resolve) => {
      const timer = setTimeout(resolve, graceMs, false);
      child.once('exit', () => {
        clearTimeout(timer);
        resolve(true);
      });
    });
    if (ended === true) return;
  }
}

async function remove(name: string): Promise<void> {
  await ip(['netns', 'delete', name]).catch((error: unknown) => {
    if (existsSync(pathOf(name))) throw error; // else somebody was quicker
  });
}

/** Removes the namespaces of this prefix whose owner has ended, with the processes in them: nobody else would start any there. */
async function sweep(prefix: string): Promise<void> {
  const pattern = new RegExp(`^${prefix}-(\\d+)-(\\d+)-`);
  for (const name of existsSync(FOLDER) ? readdirSync(FOLDER) : []) {
    const [, pid, ticks] = pattern.exec(name) ?? [];
    if (pid === undefined || startTicks(pid) === ticks) continue;
    await endAllIn(name);
    await remove(name);
  }
}

async function endAllIn(name: string): Promise<void> {
  const deadline = Date.now() + KILL_GRACE_MS;
  while (Date.now() < deadline) {
    const { stdout } = await ip(['netns', 'pids', name], { allowFailure: true });
    // We may be one of those that the owner left behind.
    const pids = stdout.split('\n').map(Number).filter((pid) => pid > 0 && pid !== process.pid);
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // ended meanwhile
      }
    }
    await sleep(POLL_MS);
  }
}

/** Makes a namespace and removes it; what stood in the way, and the remedy. */
function trial(name: string): string | undefined {
  const added = spawnSync('ip', ['netns', 'add', name], { encoding: 'utf8', timeout: KILL_GRACE_MS });
  if (added.error !== undefined) {
    return `network namespaces need the command ip, which can't be run (${added.error.message}); apt-get install iproute2`;
  }
  spawnSync('ip', ['netns', 'delete', name], { stdio: 'ignore', timeout: KILL_GRACE_MS });
  if (added.status === 0) return undefined;
  const said = added.stderr.trim().split('\n', 1)[0].replaceAll(';', ',');
  const userNamespaces = spawnSync('unshare', ['-Urnm', 'true'], { stdio: 'ignore', timeout: KILL_GRACE_MS }).status === 0;
  const otherWay = userNamespaces ? ", or within unshare -Urnm sh -c 'mount -t tmpfs tmpfs /run && COMMAND'" : '';
  return `network namespaces can't be made (ip netns add: ${said}); run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN${otherWay}`;
}
