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
 * Why an operation has no answer. `unavailable`: the directory could not be reached, and nobody knows whether it did what it was asked;
 * `lease`: there is no such lease, or it has expired: nothing was done.
 */
export type DirectoryFailure = 'unavailable' | 'lease';

/** What became of a compare-and-swap; `entry` is what stands there now, undefined for nothing. */
export interface Swap {
  readonly swapped: boolean;
  readonly entry: Entry | undefined;
}

export interface Lease {
  /** 1 to 2^32 − 1, never given twice. */
  readonly id: number;
  readonly ttlUs: number;
  /** Lets it live for another ttlUs, from when the directory hears of it. */
  keepAlive(done: (failure: DirectoryFailure | undefined) => void): void;
  /** Ends it, and with it its keys. */
  revoke(done: (failure: DirectoryFailure | undefined) => void): void;
}

/**
 * A small consistent store that all hosts see alike: who holds which identifier, who publishes what. Each key is linearizable (Herlihy &
 * Wing 1990). Answers come by callback, not by promise: in virtual time a promise would be settled outside of the event that caused it.
 * A callback is called exactly once, never before the call returns.
 *
 * Keys are non-empty, of the characters a–z, 0–9, `/`, `-` and `.`, at most 128 of them; values have at most 1,024 characters. Else throws ERR_INVALID_ARGUMENT.
 */
export interface Directory {
  get(key: string, done: (failure: DirectoryFailure | undefined, entry: Entry | undefined) => void): void;

  /**
   * Puts `value` in the place of what has `revision` (0: of nothing), under `lease` (0: for good); `undefined` deletes. Does nothing if something
   * else stands there: its outcome says what.
   */
  cas(key: string, revision: number, value: string | undefined, lease: number, done: (failure: DirectoryFailure | undefined, outcome: Swap | undefined) => void): void;

  /**
   * Calls with each entry whose key begins with `prefix`, then with each change, in order of revision; of several changes of one key in a short
   * time perhaps only the last. `entry` is undefined where the key was deleted, or went with its lease. Returns what ends it.
   */
  watch(prefix: string, onChange: (key: string, entry: Entry | undefined) => void): () => void;

  /**
   * A lease that lives for ttlUs unless kept alive. Its keys are deleted when it expires, never before ttlUs from the last keepAlive that the
   * directory confirmed, counted from when that was sent. Throws ERR_INVALID_ARGUMENT unless ttlUs is a finite number, 1 or more.
   */
  lease(ttlUs: number, done: (failure: DirectoryFailure | undefined, lease: Lease | undefined) => void): void;
}
