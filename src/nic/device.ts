import { type NativeDevice } from './addon.js';
import { Feature, Reg, VirtioNetConfig } from './layout.js';
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
    for (const name of names) set.words[Feature[name] >> 5] |= 1 << (Feature[name] & 31);
    return set;
  }

  has(name: FeatureName): boolean {
    return (this.words[Feature[name] >> 5] & (1 << (Feature[name] & 31))) !== 0;
  }

  and(other: Features): Features {
    return new Features(this.words[0] & other.words[0], this.words[1] & other.words[1]);
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

/** What the device offers (§2.2). */
export function readOffered(device: NativeDevice): Features {
  const words = [0, 1].map((i) => {
    device.write(Reg.DeviceFeaturesSel, i);
    return device.read(Reg.DeviceFeatures);
  });
  return new Features(words[0], words[1]);
}

/** The configuration space, laid out as VirtioNetConfig. */
export function readConfig(device: NativeDevice): DataView {
  const config = new DataView(new ArrayBuffer(VirtioNetConfig.size));
  // §2.5.1: fields may change while we read them, unless the generation says that none did.
  for (let tries = 0; tries < 8; tries++) {
    const before = device.read(Reg.ConfigGeneration);
    for (let at = 0; at < VirtioNetConfig.size; at += 4) config.setUint32(at, device.read(Reg.Config + at), true);
    if (device.read(Reg.ConfigGeneration) === before) break;
  }
  return config;
}
