import { type NativeDevice } from './addon.js';
import { Feature } from './layout.js';
import { type Memory } from './region.js';

/** A card as its driver sees it: registers (virtio 1.2 §4.2.2), a doorbell, an interrupt, and memory to share. */
export interface Device {
  /** @internal */
  readonly native: NativeDevice;
  /** Where the driver lays its queues and frames. */
  readonly memory: Memory;
  /** Lets time pass while the driver waits for an answer. */
  relax(): void;
}

/** A set of feature bits, as the two words in which registers carry them. */
export class Features {
  readonly words: Uint32Array;

  constructor(low = 0, high = 0) {
    this.words = Uint32Array.of(low, high);
  }

  /** By name, as Feature has them. */
  static of(...names: readonly FeatureName[]): Features {
    const set = new Features();
    for (const name of names) set.words[Feature[name] >> 5]! |= 1 << (Feature[name] & 31);
    return set;
  }

  has(name: FeatureName): boolean {
    return (this.words[Feature[name] >> 5]! & (1 << (Feature[name] & 31))) !== 0;
  }

  and(other: Features): Features {
    return new Features(this.words[0]! & other.words[0]!, this.words[1]! & other.words[1]!);
  }

  equals(other: Features): boolean {
    return this.words[0] === other.words[0] && this.words[1] === other.words[1];
  }

  names(): FeatureName[] {
    return FEATURE_NAMES.filter((name) => this.has(name));
  }
}

export type FeatureName = keyof typeof Feature;
export const FEATURE_NAMES = Object.keys(Feature) as FeatureName[];
