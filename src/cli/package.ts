import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A file of the package, by its path from the package's root. */
export function packageFile(path: string): string {
  return fileURLToPath(new URL(`../../../${path}`, import.meta.url));
}

export function version(): string {
  return (JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string }).version;
}
