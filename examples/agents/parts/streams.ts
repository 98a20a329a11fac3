// Which RTP stream a packet is of. A sender may have several, told apart by SSRC (RFC 3550 §8), and there may be several senders.
import { putBytes, takeBytes } from 'ringcube/sdk';

const SENDER: usize = 0;
const SSRC: usize = 4;
/** When it was looked up last, as a count of look-ups; 0: free. */
const USED: usize = 8;
const LOOKUPS: usize = 0;
const ENTRIES: usize = 4;
const ENTRY_BYTES: usize = 12;

/** Numbers streams from 0 to `capacity` - 1. Where there are more, the one that was silent for longest makes room. */
export class Streams {
  private at: usize;
  private bytes: i32;

  constructor(private capacity: i32) {
    this.bytes = <i32>ENTRIES + capacity * <i32>ENTRY_BYTES;
    this.at = heap.alloc(this.bytes);
    memory.fill(this.at, 0, this.bytes);
  }

  /** The stream's number; -1 if it is new: claim() it then. */
  find(sender: i32, ssrc: u32): i32 {
    for (let i = 0; i < this.capacity; i++) {
      const entry = this.entry(i);
      if (load<u32>(entry, SSRC) == ssrc && load<i32>(entry, SENDER) == sender && load<u32>(entry, USED) != 0) {
        store<u32>(entry, this.next(), USED);
        return i;
      }
    }
    return -1;
  }

  /** A number for a new stream; whatever the caller knows under it is another stream's, and over. */
  claim(sender: i32, ssrc: u32): i32 {
    let oldest = 0;
    for (let i = 1; i < this.capacity; i++) {
      if (load<u32>(this.entry(i), USED) < load<u32>(this.entry(oldest), USED)) oldest = i;
    }
    const entry = this.entry(oldest);
    store<i32>(entry, sender, SENDER);
    store<u32>(entry, ssrc, SSRC);
    store<u32>(entry, this.next(), USED);
    return oldest;
  }

  put(): void {
    putBytes(this.at, this.bytes);
  }

  take(): void {
    takeBytes(this.at, this.bytes);
  }

  private entry(index: i32): usize {
    return this.at + ENTRIES + <usize>index * ENTRY_BYTES;
  }

  /** The next look-up's number. Beyond 2^32 it begins at 1 again, and the wrong stream may make room once. */
  private next(): u32 {
    const lookups = max<u32>(load<u32>(this.at, LOOKUPS) + 1, 1);
    store<u32>(this.at, lookups, LOOKUPS);
    return lookups;
  }
}
