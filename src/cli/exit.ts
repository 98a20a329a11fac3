// How a command ends: 2 for wrong input, with one line; 130 after Ctrl-C; 1 for what else goes wrong.
import { type Command, CommanderError } from 'commander';
import { RingcubeError } from '../base/index.js';
import { EXIT_INTERRUPTED, afterInterrupts } from './interrupt.js';

const EXIT_WRONG_INPUT = 2;

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

/** Runs what the command line says, and sets the exit code of the process. `load` adds commands whose code may fail to load. */
export async function runProgram(program: Command, load: () => Promise<void> = () => Promise.resolve()): Promise<void> {
  try {
    await load();
    await program.parseAsync();
  } catch (error) {
    process.exitCode = report(error);
  }
  await afterInterrupts();
}
