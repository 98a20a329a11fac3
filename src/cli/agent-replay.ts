import { setImmediate as nextTurn } from 'node:timers/promises';
import { Prefix, RingcubeError } from '../base/index.js';
import { Host, stepHosts } from '../host/index.js';
import { Engine, Link, Recorder, Replay } from '../nic/index.js';
import { readCapture } from './agent-capture.js';
import { AgentStream, type AgentStreamOptions, tellReport } from './agent-stream.js';
import { untilEnded } from './tap-host.js';

export interface AgentReplayOptions extends AgentStreamOptions {
  input: string;
  output?: string;
  mtu: number;
  seconds?: number;
  json?: boolean;
}

/** By then a host has announced its addresses, and asked for routers. */
const SETTLED_US = 20e6;
/** One turn of the event loop, in virtual time. */
const STEP_US = 100e3;
/** For what agents still wait with after the last frame. */
const REST_US = 1e6;
/** A neighbour known for good. */
const FOREVER_US = 1e15;
const OUT_MAC = '02:00:00:00:00:02';
const SINK_MAC = 0x020000000003;

/**
 * Runs agents over recorded traffic, in virtual time:
 *
 *     capture ─ link ─ card of the station that it is for ─ agents ─ another card, recorded ─ link ─ nobody
 *
 * Nobody answers in a recording: so whom outputs go to is known from the beginning.
 */
export async function runOnCapture(files: readonly string[], options: AgentReplayOptions): Promise<void> {
  const { input, output, mtu, listen, to, json = false, seconds = Infinity } = options;
  const stream = new AgentStream(files, options);
  const { address, mac, frames, inFile, cut } = readCapture(input, listen, mtu);
  const bits = address.family === 4 ? 32 : 128;
  for (const { address: other } of to) {
    if (Prefix.parse(`${other}/0`).address.family !== address.family) {
      throw new RingcubeError('ERR_INVALID_ARGUMENT', `--to: got ${other}, must be of IPv${address.family}, as is what is recorded (for ${address.toString()})`);
    }
  }
  const engine = new Engine({ stepped: true });
  const own = { addresses: [`${address.toString()}/${bits}`], ipv6: address.family === 6, autoconfigure: false, dadTransmits: 0 };
  const host = new Host(engine, {
    ...stream.hostOptions,
    interfaces: [
      { ...own, name: 'in', nic: { mac, mtu } },
      { ...own, name: 'out', nic: { mac: OUT_MAC, mtu }, nud: { reachableTimeUs: FOREVER_US } },
    ],
  });
  const replay = new Replay(engine, frames);
  const sink = new Replay(engine, { frames: [] });
  const links = [new Link(engine, replay, host.nics[0], { pause: true }), new Link(engine, host.nics[1], sink)];
  let recorder: Recorder | undefined;
  const interrupted = { value: false };
  void untilEnded(undefined).then(() => {
    interrupted.value = true;
  });
  let lines: string[];
  try {
    stream.load(host);
    for (const { address: other } of to) {
      const prefix = Prefix.parse(`${other}/${bits}`);
      const [, out] = host.interfaces;
      host.stack.routes.add({ prefix, interface: out });
      out.neighbours.confirm(out.neighbours.entry(prefix.address), SINK_MAC);
    }
    stepHosts(engine, [host], SETTLED_US);
    stream.open();
    if (output !== undefined) {
      recorder = new Recorder(engine, output);
      recorder.add(host.nics[1], 'out');
    }
    if (!json) console.log(`${stream.description}; recorded for ${address.toString()} (${mac})`);
    replay.start();
    let endUs = SETTLED_US + seconds * 1e6;
    let over = false;
    while (engine.nowUs() < endUs && !interrupted.value) {
      stepHosts(engine, [host], Math.min(engine.nowUs() + STEP_US, endUs));
      if (!over && replay.counters().done) {
        over = true;
        endUs = Math.min(endUs, engine.nowUs() + REST_US);
      }
      await nextTurn();
    }
    const report = stream.report();
    const played = replay.counters().sent;
    lines = json
      ? [JSON.stringify({ ...report, input: { frames: inFile, cut, played } })]
      : [`frames: ${inFile} in the capture${cut === 0 ? '' : `, ${cut} of them cut short and left out`}; ${played} played, which are or may be of the stream`, ...tellReport(report)];
  } finally {
    stream.close();
    for (const link of links) link.close();
    host.stop();
    for (const one of [replay, sink, recorder]) one?.close();
  }
  console.log(lines.join('\n'));
  if (output !== undefined && !json) console.log(`what came out: ${output}`);
  if (options.trace !== undefined && !json) console.log(`trace, for ui.perfetto.dev: ${options.trace}`);
}
