// A peer: whoever attaches to a NIC that another program, or another thread of this one, owns, and echoes what it gets.
// It is told what to do by messages, and answers by messages, in a worker (peer.worker.ts) and in a process of its own
// (peer.child.ts) alike.
import { Attachment, type ServiceMode } from '../../src/nic/index.js';
import { Echo } from './traffic.js';

/** What a peer does in mid-traffic, within its handler. */
export type End = 'exit' | 'leave' | 'throw' | 'close' | 'none';

export type Command =
  | { op: 'attach'; path: string; mode: ServiceMode; end?: End }
  | { op: 'detach' }
  /** Attaches and leaves again, so many times. */
  | { op: 'knock'; path: string; times: number };

export interface Report {
  event: 'attached' | 'busy' | 'detached' | 'failed';
  message: string;
  frames: number;
  wrong: number;
}

/** How a peer speaks with whoever started it. */
export interface Line {
  say: (report: Report) => void;
  /** Listens no more, so that it keeps nobody alive. */
  hangUp: () => void;
}

const BATCHES_BEFORE_END = 5;

let echo: Echo | undefined;

function inTraffic(line: Line, end: End): () => void {
  let batches = 0;
  return () => {
    batches++;
    if (batches === 1) report(line, 'busy');
    if (batches !== BATCHES_BEFORE_END) return;
    switch (end) {
      case 'exit':
        return process.exit(0);
      case 'throw':
        throw new Error('from within the handler');
      case 'leave':
        echo!.driver.ref(false);
        line.hangUp();
        break;
      case 'close':
        echo!.driver.close();
        report(line, 'detached');
        break;
      case 'none':
    }
  };
}

function report(line: Line, event: Report['event'], message = ''): void {
  line.say({ event, message, frames: echo?.frames ?? 0, wrong: echo?.wrong ?? 0 });
}

export function obey(line: Line, command: Command): void {
  try {
    switch (command.op) {
      case 'attach':
        echo = new Echo(new Attachment(command.path), inTraffic(line, command.end ?? 'none'));
        echo.driver.start(command.mode);
        report(line, 'attached');
        break;
      case 'detach':
        echo?.driver.close();
        report(line, 'detached');
        break;
      case 'knock':
        for (let i = 0; i < command.times; i++) new Echo(new Attachment(command.path)).driver.close();
        report(line, 'detached');
    }
  } catch (error) {
    report(line, 'failed', (error as Error).message);
  }
}
