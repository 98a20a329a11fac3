import { RingcubeError, invalid } from '../base/index.js';
import { type NativeTap, type TapCounters, addon, native } from './addon.js';
import { type Engine } from './engine.js';
import { parseMac } from './nic.js';

export interface TapOptions {
  /** Of the kernel's interface, which is made for as long as this is open, unless it exists. */
  name: string;
  /** The network namespace it lies in: a name under /run/netns, or a path; default: this process's own. */
  namespace?: string;
  /** 1 to 16; default 1. All of a flow goes through one of them, on one CPU of the kernel's at a time. */
  queues?: number;
  /** 68 to 65000; default: as it is, 1500 if made here. */
  mtu?: number;
  /**
   * What a queue of the kernel's may hold of frames on their way on, as over a bridge, before a link with `pause` makes the
   * sender wait; default: as much as it likes.
   */
  sendBufferBytes?: number;
  /** As 02:00:00:00:00:01; default: as it is, the kernel's choice if made here. */
  mac?: string;
}

const MAX_QUEUES = 16;
const NAME_BYTES = 15;

function whole(name: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) throw invalid(name, value, `a whole number from ${low} to ${high}`);
}

/**
 * A backend that is an Ethernet interface of the Linux kernel (TAP): a NIC linked to it is the kernel's neighbour. The
 * interface has a carrier while a link is plugged in. Frames that come with a partial checksum are completed on their way.
 */
export class Tap {
  readonly engine: Engine;
  readonly name: string;
  /** @internal */
  readonly native: NativeTap;

  /**
   * @throws ERR_UNSUPPORTED on a stepped engine; ERR_SYSTEM with one line, and what to do about it, if the kernel refuses: to
   * make an interface takes CAP_NET_ADMIN, to use one made beforehand for this user takes nothing.
   */
  constructor(engine: Engine, options: TapOptions) {
    const { name, namespace, queues = 1, mtu, sendBufferBytes, mac } = options;
    if (typeof name !== 'string' || Buffer.byteLength(name) > NAME_BYTES || !/^[^\s/:%]+$/.test(name) || /^\.{1,2}$/.test(name)) {
      throw invalid('name', name, `an interface's: 1 to ${NAME_BYTES} bytes without white space, "/", ":" or "%"`);
    }
    if (namespace !== undefined && (typeof namespace !== 'string' || namespace === '' || namespace.includes('\0'))) {
      throw invalid('namespace', namespace, 'a name under /run/netns or a path');
    }
    whole('queues', queues, 1, MAX_QUEUES);
    if (mtu !== undefined) whole('mtu', mtu, 68, 65000);
    if (sendBufferBytes !== undefined) whole('sendBufferBytes', sendBufferBytes, 1, 2 ** 31 - 1);
    const macBytes = mac === undefined ? undefined : parseMac(mac);
    if (macBytes !== undefined && (macBytes[0] & 1) !== 0) throw invalid('mac', mac, 'a unicast address: its first byte even');
    if (engine.stepped) throw new RingcubeError('ERR_UNSUPPORTED', 'a TAP needs an engine with a thread: the kernel has no virtual time');
    const netns = namespace === undefined || namespace.includes('/') ? namespace : `/run/netns/${namespace}`;
    this.engine = engine;
    this.name = name;
    this.native = native(() => new addon.Tap(engine.native, { name, netns, queues, mtu, sendBufferBytes, mac: macBytes }));
  }

  counters(): TapCounters {
    return this.native.counters();
  }

  /** Lets go of the interface, which goes with it if it was made here. */
  close(): void {
    this.native.close();
  }
}
