// What this process holds of the machine, as the kernel tells it, and a place of its own for a test's sockets.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const DEADLINE_MS = 30_000;

/** Waits until it is so. Throws, saying what it waited for, after a time that no healthy machine needs. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const end = Date.now() + DEADLINE_MS;
  while (!isSo()) {
    if (Date.now() > end) throw new Error(`waited ${DEADLINE_MS} ms in vain until ${what}`);
    await sleep(2);
  }
}

export interface Holdings {
  /** Open file descriptors. */
  files: number;
  /** Regions mapped. */
  regions: number;
  /** Threads of engines. */
  engines: number;
}

/** How many threads of this process have a name that begins so. One that has been joined may still be there for a moment. */
export function threadsNamed(prefix: string): number {
  const comm = (id: string): string => {
    try {
      return readFileSync(`/proc/self/task/${id}/comm`, 'utf8');
    } catch {
      return ''; // ended since
    }
  };
  return readdirSync('/proc/self/task').filter((id) => comm(id).startsWith(prefix)).length;
}

export function holdings(): Holdings {
  return {
    files: readdirSync('/proc/self/fd').length,
    regions: readFileSync('/proc/self/maps', 'utf8').split('memfd:ringcube').length - 1,
    engines: threadsNamed('ringcube-dma'),
  };
}

/** Waits until this process holds no more than it did. */
export async function backTo(before: Holdings): Promise<void> {
  let now = holdings();
  const isBack = (): boolean => {
    now = holdings();
    return now.files <= before.files && now.regions <= before.regions && now.engines <= before.engines;
  };
  await until('all was given back', isBack).catch((error: unknown) => {
    throw new Error(`before: ${JSON.stringify(before)}, now: ${JSON.stringify(now)}`, { cause: error });
  });
}

/** A folder of one's own, and what removes it. */
export function scratch(): { path: (name: string) => string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'ringcube-'));
  return {
    path: (name) => join(folder, name),
    remove: () => {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The environment without what a test runner adds for its children: these are to be plain programs. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(NODE_|TAP|_TAP)/.test(name)));
}
