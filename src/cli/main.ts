#!/usr/bin/env node
// cli: the command `ringcube`: arguments and words only. Wrong input gets one line and exit code 2.
import { Command } from 'commander';
import { doctorCommand } from './doctor-command.js';
import { runProgram } from './exit.js';
import { version } from './package.js';

/** They do without the addon, to be there when it can't be loaded; all else needs it. */
const WITHOUT_ADDON = ['doctor', 'sim', 'reproduce'];

const program = new Command('ringcube')
  .description('A testbed for user-level data-stream processing: an emulated virtio-net card, and everything above it.')
  .version(version())
  .showSuggestionAfterError()
  .exitOverride()
  .addCommand(doctorCommand().exitOverride());

await runProgram(program, async () => {
  if (process.argv[2] === 'doctor') return;
  const { reproduceCommand } = await import('./reproduce-command.js');
  const { simCommand } = await import('./sim-command.js');
  program.addCommand(simCommand().exitOverride()).addCommand(reproduceCommand().exitOverride());
  if (WITHOUT_ADDON.includes(process.argv[2])) return;
  const { agentCommand } = await import('./agent-command.js');
  const { benchCommand } = await import('./bench-command.js');
  const { hostCommand } = await import('./host-command.js');
  program.addCommand(benchCommand().exitOverride()).addCommand(hostCommand().exitOverride()).addCommand(agentCommand());
});
