import { basename, join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { Prefix, RingcubeError } from '../base/index.js';
import { type StreamOutput } from '../upcall/index.js';
import { buildAgent } from './agent-build.js';
import { checkModules } from './agent-check.js';
import { runOnCapture } from './agent-replay.js';
import { type AgentRunOptions, runOnTap } from './agent-run.js';
import { type AgentStreamOptions } from './agent-stream.js';
import { found } from './files.js';
import { port, seconds, wholeNumber } from './numbers.js';
import { repeated, said, withTapOptions } from './tap-host.js';

interface AgentRunFlags extends Omit<AgentRunOptions, 'tap'> {
  tap?: string;
  input?: string;
  output?: string;
}

function output(text: string): StreamOutput {
  const [, v6, v4, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(text) ?? [];
  const address = v6 ?? v4;
  const value = Number(digits);
  try {
    if (value < 1 || value > 65535) throw new RangeError();
    Prefix.parse(`${address}/${v6 === undefined ? 32 : 128}`);
  } catch {
    throw new InvalidArgumentError('It must be an address and a port, as 198.18.0.1:5004 or [fd00::1]:5004.');
  }
  return { address, port: value };
}

/** Milliseconds, as Q/P or Q/P/D. */
function share(text: string): AgentStreamOptions['server'] {
  const [budgetUs, periodUs, deadlineUs = periodUs, ...more] = text.split('/').map((ms) => (/^\d+(\.\d+)?$/.test(ms) ? Number(ms) * 1e3 : NaN));
  if (!(budgetUs > 0 && budgetUs <= deadlineUs && deadlineUs <= periodUs) || more.length > 0) {
    throw new InvalidArgumentError('It must be Q/P or Q/P/D in milliseconds, as 2/10 or 2/10/5: 0 < Q <= D <= P.');
  }
  return { budgetUs, periodUs, deadlineUs };
}

/** Where the module of a source goes: to a file, into a folder, or beside the source. */
function placeOf(source: string, out: string | undefined, several: boolean): string {
  const name = basename(source).replace(/\.ts$/, '.wasm');
  if (out === undefined) return source.replace(/\.ts$/, '.wasm');
  if (several || out.endsWith('/') || found(out)?.isDirectory() === true) return join(out, name);
  return out;
}

async function build(sources: readonly string[], { output: out }: { output?: string }): Promise<void> {
  if (out !== undefined && sources.length > 1 && found(out)?.isFile() === true) {
    throw new RingcubeError('ERR_INVALID_ARGUMENT', `${out}: is a file, must be a folder for several sources`);
  }
  for (const source of sources) {
    const path = placeOf(source, out, sources.length > 1);
    const module = await buildAgent(source, path);
    console.log(`${path}: ${module.length} bytes`);
  }
}

/** What is for a TAP means nothing to a recording, and the other way round. */
async function run(files: readonly string[], flags: AgentRunFlags): Promise<void> {
  const { tap, input, output: out } = flags;
  if ((tap === undefined) === (input === undefined)) {
    throw new RingcubeError('ERR_INVALID_ARGUMENT', 'agent run: needs --tap NAME, or --input FILE to try agents on recorded traffic; one of the two');
  }
  if (tap !== undefined) {
    if (out !== undefined) throw new RingcubeError('ERR_INVALID_ARGUMENT', '--output goes with --input; with --tap, --pcap records all frames');
    return runOnTap(files, { ...flags, tap });
  }
  const { netns, ip, ip6, gateway, pcap, probe, watch } = flags;
  const wrong = Object.entries({ netns, ip: ip[0], ip6: ip6[0], gateway: gateway[0], pcap, probe, watch }).find(([, value]) => value !== undefined);
  if (wrong !== undefined) throw new RingcubeError('ERR_INVALID_ARGUMENT', `--${wrong[0]} goes with --tap: a recording has addresses, and an end, of its own`);
  return runOnCapture(files, { ...flags, input: input! });
}

function checkCommand(): Command {
  return new Command('check')
    .description('Says whether modules keep the agent contract, and what this machine does with them.')
    .argument('<module...>', 'WebAssembly modules')
    .option('--json', 'prints {"modules": […], "machine": {…}} for machines')
    .addHelpText(
      'after',
      `
For each module: all that keeps it from being an agent, a line each; else what it imports and exports, its memory, whether
its window can be protected between calls, and what is put in for each kind of budget. Last: what this machine can do.
Exit code 2 if one is no agent.

Examples:
  ringcube agent check dist/agents/transcode.wasm
  ringcube agent check --json dist/agents/*.wasm | jq '.modules[] | {file, findings}'`,
    )
    .action(checkModules);
}

function buildCommand(): Command {
  return new Command('build')
    .description('Compiles agents written in AssemblyScript.')
    .argument('<source...>', 'AssemblyScript files, *.ts')
    .option('-o, --output <path>', 'the module, or a folder for the modules; default: beside the source')
    .addHelpText(
      'after',
      `
'ringcube/sdk' and 'ringcube/sdk/rtp' are there to be imported; docs/agent-abi.md says what an agent exports.

Examples:
  ringcube agent build mine.ts && ringcube agent check mine.wasm
  ringcube agent build examples/agents/*.ts -o modules`,
    )
    .action(build);
}

function runCommand(): Command {
  const command = new Command('run')
    .description('Runs agents on what comes to a UDP port: of a TAP, or of recorded traffic.')
    .argument('<module...>', 'WebAssembly modules; several are a pipeline')
    .requiredOption('--listen <port>', 'what comes to this UDP port is for the agents', port)
    .addOption(repeated('--to <address:port>', 'where to, what they forward and emit; may be given again', output))
    .addOption(repeated('--config <text>', "the module's configuration, or @FILE; given again: the next module's"))
    .option('--isolated', 'each agent in a fault domain of its own: payloads are copied from one to the next')
    .addOption(new Option('--window <kind>', 'whether payloads are shared with the agent, or copied in and out; default: shared where it can be').choices(['shared', 'copy']))
    .option('--protect', 'makes a shared window inaccessible outside of calls')
    .addOption(new Option('--budget <kind>', 'how one call is stopped that takes too long; default: guard where it works, fuel with --input').choices(['guard', 'epoch', 'fuel', 'none']))
    .addOption(new Option('--budget-us <n>', 'with guard and epoch: how long one call may take; default 10000').argParser(wholeNumber(50, 60e6)))
    .addOption(new Option('--fuel <n>', 'with fuel: instructions of one call; default 10 million').argParser(wholeNumber(1, 2 ** 31 - 1)))
    .addOption(new Option('--tick-us <n>', "calls the agents' timers that often; default: never").argParser(wholeNumber(100, 3600e6)))
    .option('--server <Q/P[/D]>', 'a share of the processor, in ms: Q in each P, by D; default: none, it runs as frames come', share)
    .option('--trace <file>', 'with --server: what ran when, for ui.perfetto.dev')
    .option('--seconds <n>', 'ends by itself after that long', seconds)
    .option('--json', 'prints the counters at the end, for machines, and nothing else')
    .optionsGroup('On recorded traffic, in virtual time:')
    .option('--input <file>', 'pcapng; of the first station with a datagram to the port: what is for the port, from the first datagram on')
    .option('--output <file>', 'what comes out, pcapng')
    .optionsGroup('On an interface of the kernel:')
    .option('--tap <name>', "the kernel's interface; made here (CAP_NET_ADMIN), or beforehand for this user")
    .option('--watch', 'puts a module in place of the old one when its file changes, without losing a payload');
  return withTapOptions(command)
    .addHelpText(
      'after',
      `
Agents' log lines and traps go to stderr. A server is admitted for jobs of a quarter of its Q at most; --budget-us holds agents to that.

Without root, on recorded traffic:
  ringcube agent run dist/agents/thin.wasm --config '{"of":3}' --input test/data/traffic.pcapng --listen 5004 --to 198.18.0.1:6000 --output thin.pcapng

On a TAP in a network namespace of its own (as root), L16 in, PCMU out:
  ip netns add blue
  ringcube agent run dist/agents/transcode.wasm --tap rc0 --netns blue --ip 198.18.0.2/24 --listen 5004 --to 198.18.0.1:6000 --watch &
  ip -n blue addr add 198.18.0.1/24 dev rc0
  ip netns exec blue ffmpeg -re -f lavfi -i sine -ar 8000 -ac 1 -c:a pcm_s16be -payload_type 96 -f rtp rtp://198.18.0.2:5004

A pipeline with a guaranteed 2 ms of each 10 ms, and what the scheduler did:
  ringcube agent run filter.wasm aggregate.wasm --config '{"offset":0,"value":"00"}' --config @windows.json --tick-us 100000 \\
    --server 2/10 --trace trace.json --tap rc0 --ip 198.18.0.2/24 --listen 5004 --to 198.18.0.1:6000`,
    )
    .action((files: string[], flags: AgentRunFlags) => said('agent run', () => run(files, flags)));
}

export function agentCommand(): Command {
  const command = new Command('agent').description('Stream-processing agents, WebAssembly modules: checks, builds and runs them.').exitOverride();
  for (const each of [checkCommand(), buildCommand(), runCommand()]) command.addCommand(each.exitOverride());
  return command;
}
