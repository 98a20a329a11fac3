import { invalid } from '../base/index.js';

/** What stands under a key. */
export interface Entry {
  readonly key: string;
  readonly value: string;
  /** Grows with each change of any key: never two states of a key with one revision. From 1. */
  readonly revision: number;
  /** The lease that it will go with; 0 if it stays for good. */
  readonly lease: number;
}

/**
 * Why an operation has no answer. `unavailable`: the directory could not be reached, and nobody knows whether it did, or will yet do, what it was asked;
 * `lease`: there is no such lease, or it has expired: nothing was done; `full`: no room for another key or lease: nothing was done.
 */
export type DirectoryFailure = 'unavailable' | 'lease' | 'full';

/** What became of a compare-and-swap; `entry` is what stands there now, undefined for nothing. */
export interface Swap {
  readonly swapped: boolean;
  readonly entry: Entry | undefined;
}

export interface Lease {
  /** 1 to 2^32 − 1, higher than that of any lease answered before this one was asked for: of two incarnations of a host the later is known by it. */
  readonly id: number;
  readonly ttlUs: number;
  /** Lets it live for another ttlUs, from when the directory hears of it. `lease` where it has ended: it never comes back. */
  keepAlive(done: (failure: DirectoryFailure | undefined) => void): void;
  /** Ends it, and with it its keys. `lease` where it has ended before. */
  revoke(done: (failure: DirectoryFailure | undefined) => void): void;
}

/**
 * A small consistent store that all hosts see alike: who holds which identifier, who publishes what. Each key is linearizable (Herlihy &
 * Wing 1990). Answers come by callback, not by promise: in virtual time a promise would be settled outside of the event that caused it.
 * A callback is called exactly once, never before the call returns. In which order answers to different operations come, and calls of
 * watches between them, is left open.
 *
 * Keys are non-empty, of the characters a–z, 0–9, `/`, `-` and `.`, at most 128 of them; values have at most 1,024 characters
 * (UTF-16 units). Else the call throws ERR_INVALID_ARGUMENT, and nothing was done.
 */
export interface Directory {
  get(key: string, done: (failure: DirectoryFailure | undefined, entry: Entry | undefined) => void): void;

  /**
   * Puts `value` in the place of what has `revision` (0: of nothing), under `lease` (0: for good), whatever lease it was under before;
   * `undefined` deletes, and asks for no lease. Does nothing if something else stands there: its outcome says what. To delete what
   * isn't there (revision 0) succeeds and changes nothing. A lease that has ended is `lease`, whatever stands there.
   */
  cas(key: string, revision: number, value: string | undefined, lease: number, done: (failure: DirectoryFailure | undefined, outcome: Swap | undefined) => void): void;

  /**
   * Calls with each entry whose key begins with `prefix` (empty: all), then with each change, in order of revision; of several changes
   * of one key in a short time perhaps only the last, so that a key may be said to be gone that was never said to be there. `entry` is
   * undefined where the key was deleted, or went with its lease. Returns what ends it: no call comes after that.
   */
  watch(prefix: string, onChange: (key: string, entry: Entry | undefined) => void): () => void;

  /**
   * A lease that lives for ttlUs unless kept alive. Its keys are deleted when it expires: never before ttlUs from when this, or the last
   * keepAlive that was answered without a failure, was called. Throws ERR_INVALID_ARGUMENT unless ttlUs is a finite number, 1 or more.
   */
  lease(ttlUs: number, done: (failure: DirectoryFailure | undefined, lease: Lease | undefined) => void): void;
}

/** The longest key. */
export const MAX_KEY_CHARACTERS = 128;
const MAX_VALUE_CHARACTERS = 1024;
const KEY = /^[a-z0-9/.-]*$/;

/** @throws ERR_INVALID_ARGUMENT unless a key */
export function checkKey(key: string): void {
  if (key === '') throw invalid('key', key, 'a text that is not empty');
  checkCharacters('key', key);
}

/** @throws ERR_INVALID_ARGUMENT unless the beginning of a key */
export function checkPrefix(prefix: string): void {
  checkCharacters('prefix', prefix);
}

function checkCharacters(what: string, text: string): void {
  if (typeof text === 'string' && text.length <= MAX_KEY_CHARACTERS && KEY.test(text)) return;
  throw invalid(what, text, `at most ${MAX_KEY_CHARACTERS} of the characters a-z, 0-9, "/", "-" and "."`);
}

/** @throws ERR_INVALID_ARGUMENT unless these are arguments of cas() */
export function checkCas(key: string, revision: number, value: string | undefined, lease: number): void {
  checkKey(key);
  if (!Number.isSafeInteger(revision) || revision < 0) throw invalid('revision', revision, 'that of an entry, or 0 for none');
  if (value !== undefined && (typeof value !== 'string' || value.length > MAX_VALUE_CHARACTERS)) {
    throw invalid('value', value, `a text of at most ${MAX_VALUE_CHARACTERS} characters, or undefined to delete`);
  }
  if (!Number.isInteger(lease) || lease < 0 || lease > 0xffffffff) throw invalid('lease', lease, 'the id of a lease, or 0 for none');
}

/** @throws ERR_INVALID_ARGUMENT unless a lease's time to live */
export function checkTtl(ttlUs: number): void {
  if (!(Number.isFinite(ttlUs) && ttlUs >= 1)) throw invalid('ttlUs', ttlUs, 'a finite number of microseconds, 1 or more');
}
