import { type Stream } from './stream.js';
import { type Trees } from './trees.js';

/** Subscribers in a stream's tree below this host, but for those who are behind `except`, that have it in time, or mind no time. */
function isInTimeBelow({ children }: Stream): boolean {
  return children.some(({ subscribers, late }) => subscribers > late);
}

/**
 * Whether this host can have another identifier without harm to who is in time by its other streams, here or below: what those would take from elsewhere
 * nobody knows.
 *
 * @param asked the stream for which it is to move
 */
export function isFreeToMove(trees: Trees, asked: Stream | undefined): boolean {
  for (const stream of trees.streams.values()) {
    if (stream === asked) continue;
    if (isInTimeBelow(stream) || stream.subscriptions.some(({ boundUs }) => boundUs < Infinity && stream.delayUs <= boundUs)) return false;
  }
  return true;
}
