import { invalid } from '../base/index.js';

/** What a sequence number is to a ReplayWindow. */
export const Arrival = {
  /** Never seen: the one time to deliver it. */
  new: 0,
  /** Seen before. */
  duplicate: 1,
  /** So far behind the newest that nobody knows any more. */
  old: 2,
} as const;
export type Arrival = (typeof Arrival)[keyof typeof Arrival];

const DEFAULT_WIDTH = 64;
const MAX_WIDTH = 65_536;
const WORD = 32;
/** Words of 32 sequence numbers there are in all. */
const WORD_NUMBERS = 2 ** 27;

//   width 64: 4 words, of which 2 or 3 hold the window          newest
//                                                                ▼
//   word     … │ 8 ··············· │ 9 ··············· │ 10 ······│······ │ 11 …
//   index      │ 0                 │ 1                 │ 2                │ 3      number / 32 mod 4
//                      ◀─────────── window, 64 numbers ──────────▶
//
// A word is cleared when the newest number enters it, and nothing is ever shifted (RFC 6479).

/** Words for a window of so many numbers: one more than it fills, as it seldom begins where a word does; a power of two, for the wrap from 2^32 − 1 to 0. */
function wordsFor(width: number): number {
  let words = 1;
  while (words < width / WORD + 1) words *= 2;
  return words;
}

const DEFAULT_WORDS = wordsFor(DEFAULT_WIDTH);

/** Numbers that a window of the default width takes up in a Float64Array: the newest, −1 before the first, and the words. */
export const WINDOW_CELLS = 1 + DEFAULT_WORDS;

/** Begins a window of the default width at `state[at]`. */
export function beginWindow(state: Float64Array, at: number): void {
  state[at] = -1;
  state.fill(0, at + 1, at + WINDOW_CELLS);
}

/** As ReplayWindow.accept(), of the window at `state[at]`: for those who have one for each of many peers. */
export function acceptInWindow(state: Float64Array, at: number, sequence: number, width = DEFAULT_WIDTH, words = DEFAULT_WORDS): Arrival {
  if (state[at] < 0) state[at] = sequence >>> 0;
  const newest = state[at] >>> 0;
  const mask = words - 1;
  const ahead = (sequence - newest) | 0;
  if (ahead > 0) {
    const word = newest >>> 5;
    const entered = Math.min(words, ((sequence >>> 5) - word + WORD_NUMBERS) % WORD_NUMBERS);
    for (let i = 1; i <= entered; i++) state[at + 1 + ((word + i) & mask)] = 0;
    state[at] = sequence >>> 0;
  } else if (ahead <= -width) return Arrival.old;
  const index = at + 1 + ((sequence >>> 5) & mask);
  const bit = 1 << (sequence & 31);
  const seen = state[index] | 0;
  if ((seen & bit) !== 0) return Arrival.duplicate;
  state[index] = seen | bit;
  return Arrival.new;
}

/**
 * Which sequence numbers have come: a window that slides with the newest (RFC 4303 §3.4.3, appendix A2.1), so that each message is
 * delivered once, however often and in whatever order it comes. Those that it passes by unseen are lost: choose the width by how far
 * messages overtake one another.
 *
 * Numbers are of 32 bits and go on at 0 after 2^32 − 1, compared as RFC 1982 does: of two the newer is the one less than 2^31 ahead. So a
 * stream may last for ever, but what is 2^31 behind or more is taken for new. (RFC 4303 instead ends an association where its numbers do.)
 * The first that comes, whatever it is, opens the window, also to those before it.
 */
export class ReplayWindow {
  /** Numbers behind the newest, itself included, of which it is known whether they came. */
  readonly width: number;
  private readonly words: number;
  private readonly state: Float64Array;

  /** @param width default 64; throws ERR_INVALID_ARGUMENT unless a multiple of 32, from 32 to 65,536 */
  constructor(width = DEFAULT_WIDTH) {
    if (!Number.isInteger(width) || width < WORD || width > MAX_WIDTH || width % WORD !== 0) throw invalid('width', width, `a multiple of ${WORD} from ${WORD} to ${MAX_WIDTH}`);
    this.width = width;
    this.words = wordsFor(width);
    this.state = new Float64Array(1 + this.words);
    this.state[0] = -1;
  }

  /** The newest that came; 0 before the first. */
  get newest(): number {
    return Math.max(0, this.state[0]);
  }

  /** Notes that `sequence` came, a whole number from 0 to 2^32 − 1 (others are taken modulo 2^32), and says what it is. */
  accept(sequence: number): Arrival {
    return acceptInWindow(this.state, 0, sequence, this.width, this.words);
  }
}
