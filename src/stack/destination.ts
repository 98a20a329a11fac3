import { type Address, AddressMap, type Timer, type Timers } from '../base/index.js';
import { type Interface } from './interface.js';
import { Neighbour } from './neighbours.js';
import { type Stack } from './stack.js';
import { type Mac } from './wire/ethernet.js';

/** RFC 1191 §6.3, RFC 8201 §4: a smaller path MTU is believed for ten minutes. */
const PMTU_AGE_US = 600e6;
/** The least that IPv4 (RFC 791 §3.1) and IPv6 (RFC 8200 §5) ask of a link. */
const MIN_MTU = { 4: 68, 6: 1280 } as const;
const MAX_DESTINATIONS = 4096;

/** All that sending to one address needs (RFC 4861 §5.1): the route, the neighbour, our address, the path's MTU. */
export class Destination {
  /** Of the largest packet that is known to get there. */
  mtu: number;
  private aging: Timer | undefined;

  constructor(
    readonly address: Address,
    readonly iface: Interface,
    readonly neighbour: Neighbour,
    readonly source: Address,
    readonly generation: number,
  ) {
    this.mtu = iface.mtu;
  }

  /** A router said that its link takes no more; values that no link has are not believed (RFC 8201 §4). */
  learnMtu(mtu: number, timers: Timers, epoch: { value: number }): void {
    const bounded = Math.max(mtu, MIN_MTU[this.address.family]);
    if (bounded >= this.mtu) return;
    this.mtu = bounded;
    epoch.value++;
    this.aging?.cancel();
    this.aging = timers.after(PMTU_AGE_US, () => {
      this.mtu = this.iface.mtu;
      epoch.value++;
    });
  }
}

/** The station address of a group: RFC 1112 §6.4, RFC 2464 §7. */
export function groupMac(address: Address): Mac {
  return address.family === 4 ? 0x01005e000000 + (address.w3 & 0x7fffff) : 0x333300000000 + (address.w3 >>> 0);
}

/** The destination cache (RFC 4861 §5.1). */
export class Destinations {
  private readonly cache = new AddressMap<Destination>();

  constructor(private readonly stack: Stack) {}

  /** Undefined where no route leads, or no address of ours fits. `via`: for addresses that mean something on one link only. */
  find(address: Address, via?: Interface): Destination | undefined {
    if (via !== undefined) return this.make(address, via, undefined);
    const known = this.cache.get(address);
    const { generation } = this.stack.routes;
    if (known !== undefined && known.generation === generation) return known;
    const route = this.stack.routes.find(address);
    const made = route !== undefined ? this.make(address, route.interface, route.gateway) : this.onAnyLink(address);
    if (made === undefined) {
      this.cache.delete(address);
      return undefined;
    }
    if (this.cache.size >= MAX_DESTINATIONS) this.cache.clear();
    this.cache.set(address, made);
    return made;
  }

  /** Groups and 255.255.255.255 need no route: where none says otherwise they go to the first link that we have an address on. */
  private onAnyLink(address: Address): Destination | undefined {
    if (!address.isMulticast && !address.isBroadcast) return undefined;
    for (const iface of this.stack.interfaces) {
      const made = this.make(address, iface, undefined);
      if (made !== undefined) return made;
    }
    return undefined;
  }

  private make(address: Address, iface: Interface, gateway: Address | undefined): Destination | undefined {
    const source = iface.sourceFor(address);
    if (source === undefined) return undefined;
    // RFC 4861 §5.2: a group is always on the link, never behind a gateway.
    const shared = address.isMulticast || address.isBroadcast;
    return new Destination(address, iface, this.neighbour(iface, shared ? address : (gateway ?? address)), source, this.stack.routes.generation);
  }

  private neighbour(iface: Interface, nextHop: Address): Neighbour {
    const broadcast = iface.isBroadcast(nextHop);
    if (!broadcast && !nextHop.isMulticast) return iface.neighbours.entry(nextHop);
    // A group has a station address by rule: such a neighbour needs no asking, and is in no cache.
    const group = new Neighbour(nextHop);
    group.mac = broadcast ? 0xffffffffffff : groupMac(nextHop);
    group.state = 'reachable';
    return group;
  }
}
