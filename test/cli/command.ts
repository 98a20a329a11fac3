// The command `ringcube`, as it was built, and what is asked of it wherever input is wrong.
import { type SpawnSyncReturns } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Test } from 'tap';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const MAIN = `${ROOT}dist/src/cli/main.js`;

export type Ended = Pick<SpawnSyncReturns<string>, 'status' | 'stdout' | 'stderr'>;

/** With each of these arguments `run` ends with exit code 2, prints nothing, and says in one line what would be right. */
export function refusesInput(t: Pick<Test, 'equal' | 'match' | 'ok'>, run: (...args: string[]) => Ended, wrong: readonly (readonly [args: string[], message: RegExp])[]): void {
  for (const [args, message] of wrong) {
    const { status, stdout, stderr } = run(...args);
    t.equal(status, 2, args.join(' ').slice(0, 200));
    t.match(stderr, message);
    t.equal(stdout, '');
    t.ok(stderr.trim().split('\n').length <= 2, 'a line, and at most a suggestion');
  }
}
