import { type FrameBatch } from './batch.js';
import { type RxQueue } from './rx-queue.js';
import { type TxQueue } from './tx-queue.js';

/** A receive and a transmit queue, and the batch that the first one fills. */
export class QueuePair {
  /** Being polled, interrupts off. */
  polling = false;
  /**
   * Instead of being served at once, a pair that has frames is masked and this is called: serveDeferred() then takes them when
   * their time has come. What comes in meanwhile waits on the ring, and beyond that is dropped by the card.
   */
  ready: ((pair: QueuePair) => void) | undefined = undefined;
  /** Masked, until serveDeferred() has found it empty. */
  waiting = false;

  constructor(
    readonly index: number,
    public rx: RxQueue,
    readonly tx: TxQueue,
    /** What receive() fills; another one after splitPair(). */
    public batch: FrameBatch,
  ) {}
}
