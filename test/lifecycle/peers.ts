// The owner's end of a peer (peer.ts): starts one, as a worker or as a process, and hears what it says.
import { type ChildProcess, fork } from 'node:child_process';
import { Worker } from 'node:worker_threads';
import { plainEnvironment, until } from './machine.js';
import { type Command, type Report } from './peer.js';

/** How a peer ended. A worker has an error in place of a signal. */
export interface Ended {
  code: number | null;
  signal: string | null;
  error: string;
}

export abstract class Peer {
  protected readonly heard: Report[] = [];
  protected how: Ended | undefined;

  abstract tell(command: Command): void;
  /** From outside: worker.terminate(), or SIGKILL. */
  abstract kill(): void;

  /** The next report, which must be of that event. */
  async hear(event: Report['event']): Promise<Report> {
    await until(`the peer said '${event}'`, () => this.heard.length > 0 || this.how !== undefined);
    const report = this.heard.shift();
    if (report?.event !== event) throw new Error(`the peer said ${JSON.stringify(report)}, not '${event}'; ${JSON.stringify(this.how)}`);
    return report;
  }

  async ended(): Promise<Ended> {
    await until('the peer ended', () => this.how !== undefined);
    return this.how!;
  }
}

export class WorkerPeer extends Peer {
  readonly #worker: Worker;
  #error = '';

  constructor() {
    super();
    this.#worker = new Worker(new URL('./peer.worker.js', import.meta.url), { execArgv: [], env: plainEnvironment() });
    this.#worker.on('message', (report: Report) => this.heard.push(report));
    this.#worker.on('error', (error: Error) => {
      this.#error = error.message;
    });
    this.#worker.on('exit', (code) => {
      this.how = { code, signal: null, error: this.#error };
    });
  }

  tell(command: Command): void {
    this.#worker.postMessage(command);
  }

  kill(): void {
    void this.#worker.terminate();
  }
}

export class ProcessPeer extends Peer {
  readonly #child: ChildProcess;

  constructor() {
    super();
    this.#child = fork(new URL('./peer.child.js', import.meta.url), {
      execArgv: ['--trace-uncaught'],
      env: plainEnvironment(),
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let said = '';
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    this.#child.on('message', (report: Report) => this.heard.push(report));
    this.#child.on('close', (code, signal) => {
      this.how = { code, signal, error: said };
    });
  }

  tell(command: Command): void {
    this.#child.send(command);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  signal(): void {
    this.#child.kill('SIGUSR2');
  }
}

export const PEERS = [
  ['a worker', WorkerPeer],
  ['a process', ProcessPeer],
] as const;
