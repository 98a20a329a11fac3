import { isatty } from 'node:tty';
import { Command } from 'commander';
import pc from 'picocolors';
import { type Check, examine } from './doctor.js';

/** A line for each check, and one for its remedy: not broken to the terminal's width, so that a command can be copied whole. */
function table(checks: readonly Check[]): string {
  const paint = pc.createColors(isatty(process.stdout.fd) && pc.isColorSupported);
  const nameWidth = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.flatMap(({ name, ok, reason, remedy }) => {
    const found = `${ok ? paint.green('✓') : paint.red('✗')} ${name.padEnd(nameWidth)}  ${reason}`;
    return remedy === undefined ? [found] : [found, `${' '.repeat(nameWidth + 4)}${paint.dim(`→ ${remedy}`)}`];
  });
  return lines.join('\n');
}

async function run({ json = false }: { json?: boolean }): Promise<void> {
  const checks = await examine();
  console.log(json ? JSON.stringify({ checks }, null, 1) : table(checks));
}

const HELP = `
Each line says what was found; below a ✗, an arrow leads to what would help.
Nothing here must be mended before Ringcube runs, but for Node, the addon, and
what builds the addon (compiler, build tools). The rest is needed for:

  cores                     engine and driver side by side, and honest benches
  TAP, AF_XDP               cards on interfaces of the kernel
  network namespaces        tests against the kernel's own stack
  test tools                tests against other people's programs
  hugepages, locked memory  fewer page faults and TLB misses
  SCHED_FIFO, _DEADLINE     threads that nothing else delays

It exits with 0 whatever it finds; --json has 'ok' for each check.

Examples:
  ringcube doctor
  sudo ringcube doctor                 what root could do
  ringcube doctor --json | jq '.checks[] | select(.ok | not) | .remedy'`;

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('Says what this machine can do for Ringcube, and what would help where it lacks something.')
    .option('--json', 'prints {"checks": [{"name", "ok", "reason", "remedy"?}]} for machines')
    .addHelpText('after', HELP)
    .action(run);
}
