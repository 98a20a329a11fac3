#!/usr/bin/env node
// cli: the command `ringcube`: arguments and words only. Wrong input gets one line and exit code 2.
import { Command } from 'commander';
import { doctorCommand } from './doctor-command.js';
import { runProgram } from './exit.js';
import { version } from './package.js';

/** Each loaded only when it is meant: some take a while, and some need the addon. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  doctor: () => Promise.resolve(doctorCommand()),
  bench: async () => (await import('./bench-command.js')).benchCommand(),
  host: async () => (await import('./host-command.js')).hostCommand(),
  agent: async () => (await import('./agent-command.js')).agentCommand(),
  sim: async () => (await import('./sim-command.js')).simCommand(),
  reproduce: async () => (await import('./reproduce-command.js')).reproduceCommand(),
};

const program = new Command('ringcube')
  .description('A testbed for user-level data-stream processing: an emulated virtio-net card, and everything above it.')
  .version(version())
  .showSuggestionAfterError()
  .exitOverride();

await runProgram(program, async () => {
  const meant = process.argv[2];
  const loads = Object.hasOwn(COMMANDS, meant) ? [COMMANDS[meant]] : Object.values(COMMANDS);
  for (const load of loads) program.addCommand((await load()).exitOverride());
});
