// Files that commands write. What the system has against one is told in one line.
import { type Stats, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { RingcubeError, type RingcubeErrorCode } from '../base/index.js';

/** @param code ERR_INVALID_ARGUMENT for what is known before anything is done: the wrong path was given */
export function unwritable(path: string, error: unknown, code: RingcubeErrorCode = 'ERR_SYSTEM'): RingcubeError {
  return new RingcubeError(code, `${path === '' ? '""' : path}: can't be written: ${(error as Error).message}`);
}

/** What stands where something is to be written; undefined for nothing. @throws ERR_INVALID_ARGUMENT where nothing can */
export function found(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw unwritable(path, error, 'ERR_INVALID_ARGUMENT');
  }
}

/** Writes a file, or to a device. @throws ERR_SYSTEM */
export function writeTo(path: string, contents: Uint8Array | string): void {
  try {
    writeFileSync(path, contents);
  } catch (error) {
    throw unwritable(path, error);
  }
}

/** Writes a file whole or not at all: whoever reads it meanwhile finds the old one or the new one. What is no regular file stays what it is, and is written to. @throws ERR_SYSTEM */
export function writeWhole(path: string, contents: Uint8Array | string): void {
  if (found(path)?.isFile() === false) {
    writeTo(path, contents);
    return;
  }
  const beside = `${path}.${process.pid}`;
  try {
    writeFileSync(beside, contents);
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw unwritable(path, error);
  }
}
