#!/usr/bin/env node
// cli: the command `ringcube`: arguments and words only. Wrong input gets one line and exit code 2.
import { Command, CommanderError } from 'commander';
import { RingcubeError } from '../base/index.js';
import { doctorCommand } from './doctor-command.js';
import { version } from './package.js';

const EXIT_WRONG_INPUT = 2;
const EXIT_INTERRUPTED = 130;

const program = new Command('ringcube')
  .description('A testbed for user-level data-stream processing: an emulated virtio-net card, and everything above it.')
  .version(version())
  .showSuggestionAfterError()
  .exitOverride()
  .addCommand(doctorCommand().exitOverride());

/** The first line of what went wrong; commander has printed its own. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_WRONG_INPUT;
  if (error instanceof Error && error.name === 'AbortError') return EXIT_INTERRUPTED;
  if (error instanceof RingcubeError) {
    console.error(`ringcube: ${error.message}`);
    return error.code === 'ERR_INVALID_ARGUMENT' || error.code === 'ERR_FORMAT' ? EXIT_WRONG_INPUT : 1;
  }
  console.error(error);
  return 1;
}

try {
  // The doctor does without the addon, to be there when it can't be loaded; all else needs it.
  if (process.argv[2] !== 'doctor') {
    const { agentCommand } = await import('./agent-command.js');
    const { benchCommand } = await import('./bench-command.js');
    const { hostCommand } = await import('./host-command.js');
    program.addCommand(benchCommand().exitOverride()).addCommand(hostCommand().exitOverride()).addCommand(agentCommand());
  }
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}
