import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { AgentStream, type AgentStreamOptions, tellReport } from './agent-stream.js';
import { TapHost, type TapHostOptions, untilEnded } from './tap-host.js';

export interface AgentRunOptions extends TapHostOptions, AgentStreamOptions {
  watch?: boolean;
  seconds?: number;
  json?: boolean;
}

/** A file that is written in several pieces is read once it has been left alone for so long. */
const SETTLED_MS = 100;
const TOLD_EVERY_MS = 1000;

/** Tells of each change of a file, also where another is put in its place. */
function watchFile(file: string, onChange: () => void): FSWatcher {
  const name = basename(file);
  let timer: NodeJS.Timeout | undefined;
  return watch(dirname(file), { persistent: false }, (_event, changed) => {
    if (changed !== name) return;
    clearTimeout(timer);
    timer = setTimeout(onChange, SETTLED_MS).unref();
  });
}

/** Runs agents on an interface of the kernel's, until Ctrl-C. */
export async function runOnTap(files: readonly string[], options: AgentRunOptions): Promise<void> {
  const { json = false } = options;
  const say = (line: string): void => {
    if (!json) console.log(line);
  };
  const stream = new AgentStream(files, options);
  const ended = untilEnded(options.seconds);
  const tapHost = new TapHost(options, say, stream.hostOptions);
  const { host } = tapHost;
  const watchers: FSWatcher[] = [];
  let ticker: NodeJS.Timeout | undefined;
  let lines: string[] = [];
  try {
    stream.load(host);
    tapHost.plug();
    await Promise.race([host.ready(), ended]);
    stream.open();
    for (const [i, file] of (options.watch === true ? files : []).entries()) {
      watchers.push(watchFile(file, () => {
        const line = stream.replace(i);
        if (line.startsWith('ringcube: ')) console.error(line);
        else say(line);
      }));
    }
    say(`${stream.description}; Ctrl-C ends`);
    if (process.stdout.isTTY && !json) {
      ticker = setInterval(() => {
        process.stdout.write(`\r\x1b[K${tellReport(stream.report())[0]}`);
      }, TOLD_EVERY_MS);
    }
    await ended;
    const report = stream.report();
    lines = json ? [JSON.stringify({ ...report, tap: tapHost.tapCounters() })] : tellReport(report);
  } finally {
    clearInterval(ticker);
    for (const watcher of watchers) watcher.close();
    stream.close();
    tapHost.close();
    if (ticker !== undefined) process.stdout.write('\n');
  }
  console.log(lines.join('\n'));
  if (options.pcap !== undefined) say(`frames: ${options.pcap}`);
  if (options.trace !== undefined) say(`trace, for ui.perfetto.dev: ${options.trace}`);
}
