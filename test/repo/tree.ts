// The files of this repository, for tests about the repository itself.
import { readdirSync } from 'node:fs';

/** The root of the repository, as seen from dist/test/repo/. */
export const root = new URL('../../../', import.meta.url);

const SKIPPED = /^(node_modules|dist|build|build-.*|coverage|\.git|\.tap)$/;

/**
 * Paths from the root, sorted, of the files in `folders` (all depths) that end in one of `endings`. What is built or installed is
 * left out.
 */
export function sourceFiles(folders: readonly string[], endings: readonly string[]): string[] {
  const found: string[] = [];
  const walk = (folder: string): void => {
    for (const entry of readdirSync(new URL(folder === '' ? '.' : `${folder}/`, root), { withFileTypes: true })) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) {
        if (!SKIPPED.test(entry.name)) walk(path);
      } else if (endings.some((ending) => path.endsWith(ending))) {
        found.push(path);
      }
    }
  };
  for (const folder of folders) walk(folder);
  return found.sort();
}
