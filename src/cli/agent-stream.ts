// The stream of `ringcube agent run`: agents loaded from files, what flows through them, and what became of it.
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { RingcubeError } from '../base/index.js';
import { type Host, type HostOptions } from '../host/index.js';
import { type NicCounters } from '../nic/index.js';
import { type ServerCounters, type ServerOptions, Trace } from '../sched/index.js';
import { type Agent, type AgentCounters, type AgentOptions } from '../spa/index.js';
import { type Binding, type StreamCounters, type StreamOutput } from '../upcall/index.js';
import { readBytes } from './agent-check.js';
import { unwritable } from './files.js';
import { nonZero } from './tap-host.js';

export interface AgentStreamOptions extends Pick<AgentOptions, 'window' | 'protect' | 'budget' | 'budgetUs' | 'fuel'> {
  listen: number;
  to: StreamOutput[];
  /** Each a text, or @FILE: of the first module, the second, … */
  config: string[];
  isolated?: boolean;
  tickUs?: number;
  server?: Pick<ServerOptions, 'budgetUs' | 'periodUs' | 'deadlineUs'>;
  trace?: string;
}

/** A job's bound, as a part of its server's budget: so that several run in a period. */
const JOB_SHARE = 4;

/** What is told at the end, and each second. */
export interface AgentReport {
  stream: StreamCounters & { senders: number };
  agents: ({ name: string; window: string } & AgentCounters)[];
  server?: ServerCounters;
  nic: NicCounters;
}

function readConfiguration(text: string): string {
  return text.startsWith('@') ? new TextDecoder().decode(readBytes(text.slice(1))) : text;
}

/** What a module, or how it is to run, is refused for is wrong input here, whatever it is elsewhere. */
function asInput<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (error instanceof RingcubeError && error.code !== 'ERR_SYSTEM') throw new RingcubeError('ERR_INVALID_ARGUMENT', error.message);
    throw error;
  }
}

/** A name for each, from its file's, and unlike those before it. */
function namesOf(files: readonly string[]): string[] {
  const names: string[] = [];
  for (const file of files) {
    const name = basename(file).replace(/\.wasm$/, '');
    const same = names.filter((other) => other.replace(/#\d+$/, '') === name).length;
    names.push(same === 0 ? name : `${name}#${same + 1}`);
  }
  return names;
}

/** Modules read ahead of all else, so that a wrong file is told before anything is made. */
export class AgentStream {
  private readonly modules: readonly Uint8Array[];
  private readonly configurations: readonly string[];
  private readonly trace: Trace | undefined;
  private readonly traceFile: number | undefined;
  private host: Host | undefined;
  private agents: readonly Agent[] = [];
  private binding: Binding | undefined;

  constructor(
    readonly files: readonly string[],
    private readonly options: AgentStreamOptions,
  ) {
    const { config, server, trace } = options;
    if (config.length > files.length) throw new RingcubeError('ERR_INVALID_ARGUMENT', `--config: given ${config.length} times, for ${files.length} modules`);
    if (trace !== undefined && server === undefined) throw new RingcubeError('ERR_INVALID_ARGUMENT', '--trace needs --server: without one nothing is scheduled');
    this.modules = files.map(readBytes);
    this.configurations = config.map(readConfiguration);
    if (trace === undefined) return;
    this.trace = new Trace();
    try {
      this.traceFile = openSync(trace, 'w');
    } catch (error) {
      throw unwritable(trace, error, 'ERR_INVALID_ARGUMENT');
    }
  }

  /** What its host needs: a queue for the stream, and a trace of the scheduler's. */
  get hostOptions(): Pick<HostOptions, 'agentQueues' | 'scheduler'> {
    return { agentQueues: 1, ...(this.trace === undefined ? {} : { scheduler: { trace: this.trace } }) };
  }

  /** Starts the agents. @throws ERR_INVALID_ARGUMENT if one is refused, or refuses */
  load(host: Host): void {
    const { isolated = false, window, protect, budget, budgetUs, fuel } = this.options;
    this.host = host;
    const names = namesOf(this.files);
    const shared = isolated ? undefined : host.openDomain();
    this.agents = this.modules.map((module, i) => asInput(() => host.openAgent({
      name: names[i],
      module,
      onLog: (line) => console.error(`${names[i]}: ${line}`),
      onTrap: (_cause, message) => console.error(`ringcube: ${message}`),
      ...(this.configurations[i] === undefined ? {} : { configuration: this.configurations[i] }),
      ...(shared === undefined ? {} : { domain: shared }),
      ...(window === undefined ? {} : { window }),
      ...(protect === undefined ? {} : { protect }),
      ...(budget === undefined ? {} : { budget }),
      ...(budgetUs === undefined ? {} : { budgetUs }),
      ...(fuel === undefined ? {} : { fuel }),
    })));
  }

  /** Has payloads flow, once the host's addresses are in use. */
  open(): void {
    const { listen, to, tickUs, server } = this.options;
    this.binding = asInput(() => this.host!.openStream({
      name: this.agents.map(({ name }) => name).join(' ▸ '),
      port: listen,
      agents: this.agents,
      outputs: to,
      ...(tickUs === undefined ? {} : { tickUs }),
      ...(server === undefined ? {} : { server: { ...server, jobUs: server.budgetUs / JOB_SHARE } }),
    }));
  }

  /** One line: what runs, where. */
  get description(): string {
    const { listen, to } = this.options;
    const outputs = to.map(({ address, port }) => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`));
    return `UDP port ${listen} ▸ ${this.agents.map(({ name, window }) => `${name} (${window} window)`).join(' ▸ ')} ▸ ${outputs.join(', ') || 'nobody'}`;
  }

  /** Puts another module in the place of the one from a file; if it refuses, or is refused, the old one goes on. Returns a line. */
  replace(index: number): string {
    const agent = this.agents[index];
    try {
      const module = readBytes(this.files[index]);
      agent.replace({ module });
      return `${agent.name}: replaced by ${this.files[index]}, ${module.length} bytes`;
    } catch (error) {
      if (!(error instanceof RingcubeError)) throw error;
      return `ringcube: ${error.message}; the old one goes on`;
    }
  }

  report(): AgentReport {
    const { stream, server } = this.binding!;
    return {
      stream: { ...stream.counters, senders: stream.senders.size },
      agents: this.agents.map((agent) => ({ name: agent.name, window: agent.window, ...agent.counters })),
      ...(server === undefined ? {} : { server: server.counters }),
      nic: this.host!.nics[0].counters(),
    };
  }

  /** Writes the trace; throws ERR_SYSTEM where it can't. To be called ahead of the host's end, however it comes. */
  close(): void {
    if (this.traceFile === undefined) return;
    try {
      writeFileSync(this.traceFile, this.trace!.toPerfetto());
    } catch (error) {
      throw unwritable(this.options.trace!, error);
    } finally {
      closeSync(this.traceFile);
    }
  }
}

/** For people: a line for the stream, one for each agent and for what else has something to tell. */
export function tellReport({ stream, agents, server, nic }: AgentReport): string[] {
  const lines = [`stream: ${nonZero(stream) || 'nothing came'}`];
  for (const agent of agents) {
    const trapped = nonZero(agent.traps);
    lines.push(`  ${agent.name}: ${nonZero(agent) || 'nothing came'}${trapped === '' ? '' : `; traps: ${trapped}`}`);
  }
  if (server !== undefined) lines.push(`  server: ${nonZero(server) || 'no jobs'}`);
  const dropped = nic.queues.reduce((sum, { dropNoBuffer }) => sum + dropNoBuffer, 0);
  if (dropped > 0) lines.push(`  card: ${dropped} frames dropped, as nobody took them in time`);
  return lines;
}
