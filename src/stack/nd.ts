import { Address, Prefix, type Timer } from '../base/index.js';
import { groupMac } from './destination.js';
import { pseudo } from './icmp.js';
import { type Advertise, type Interface, type LocalAddress } from './interface.js';
import { type Packet } from './ip.js';
import { type Neighbour } from './neighbours.js';
import { type Stack } from './stack.js';
import { type Icmp, Icmpv6Type, buildIcmp } from './wire/icmp.js';
import { type Mac, formatMac, isGroupMac } from './wire/ethernet.js';
import { Protocol } from './wire/ipv4.js';
import {
  AdvertisementFlag,
  type PrefixInformation,
  buildNdOptions,
  buildNeighbour,
  buildRouterAdvertisement,
  parseNdOptions,
  parseNeighbour,
  parseRouterAdvertisement,
} from './wire/ndp.js';

/** RFC 4861 §10. */
const MAX_RTR_SOLICITATION_DELAY_US = 1e6;
const RTR_SOLICITATION_INTERVAL_US = 4e6;
const MAX_RTR_SOLICITATIONS = 3;
const MAX_INITIAL_RTR_ADVERT_INTERVAL_US = 16e6;
const MAX_INITIAL_RTR_ADVERTISEMENTS = 3;
const MAX_RA_DELAY_US = 0.5e6;
const ND_HOP_LIMIT = 255;
/** RFC 4862 §5.5.3 e: an advertisement may not shorten a lifetime below this. */
const MIN_VALID_S = 7200;

/** RFC 1112 §4. */
export const ALL_HOSTS = Address.parse('224.0.0.1');
const ALL_NODES = Address.parse('ff02::1');
const ALL_ROUTERS = Address.parse('ff02::2');
const DEFAULT_ROUTE = Prefix.parse('::/0');
const LINK_LOCAL = Prefix.parse('fe80::/64');
const UNSPECIFIED = Address.v6(0, 0, 0, 0);

/** ff02::1:ffXX:XXXX (RFC 4291 §2.7.1). */
function solicitedNode(address: Address): Address {
  return Address.v6(0xff020000, 0, 1, 0xff000000 | (address.w3 & 0xffffff));
}

/** The modified EUI-64 identifier of a station (RFC 4291 appendix A) under a prefix. */
function eui64(prefix: Address, mac: Mac): Address {
  const high = Math.floor(mac / 0x1000000);
  const low = mac % 0x1000000;
  return Address.v6(prefix.w0, prefix.w1, ((high ^ 0x020000) << 8) | 0xff, (0xfe << 24) | low);
}

export interface NdCounters {
  malformed: number;
  solicitationsAnswered: number;
  duplicates: number;
  routerAdvertisements: number;
  routerAdvertisementsSent: number;
}

interface Autoconfigured {
  own: LocalAddress;
  expiry: Timer | undefined;
  validUntilUs: number;
}

/** Neighbour discovery (RFC 4861) and stateless autoconfiguration (RFC 4862), as a host and as a router. */
export class NdService {
  readonly counters: NdCounters = { malformed: 0, solicitationsAnswered: 0, duplicates: 0, routerAdvertisements: 0, routerAdvertisementsSent: 0 };
  /** Of what we send; routers may set it (§6.3.4). */
  hopLimit = 64;
  private readonly autoconfigured = new Map<string, Autoconfigured>();
  private readonly routerExpiry = new Map<string, Timer>();
  private readonly prefixExpiry = new Map<string, Timer>();

  constructor(private readonly stack: Stack) {}

  // --- start ---

  start(iface: Interface): void {
    this.stack.routes.add({ prefix: LINK_LOCAL, interface: iface });
    this.stack.addAddress(iface, new Prefix(eui64(LINK_LOCAL.address, iface.mac), 64));
    const { advertise } = iface.options;
    if (advertise !== undefined) this.advertiseRegularly(iface, advertise, 0);
    else if (iface.options.autoconfigure ?? !this.stack.forwarding) this.solicitRouters(iface, 0);
  }

  /** Duplicate address detection (RFC 4862 §5.4). */
  claim(iface: Interface, own: LocalAddress): void {
    const transmits = iface.options.dadTransmits ?? 1;
    const group = solicitedNode(own.address);
    this.stack.updateGroups(iface);
    const probe = (sent: number): void => {
      if (own.state !== 'tentative') return;
      if (sent >= transmits) return this.stack.addressReady(iface, own);
      this.sendNeighbour(iface, group, UNSPECIFIED, Icmpv6Type.NeighbourSolicitation, 0, own.address, {});
      this.stack.timers.after(iface.neighbours.options.retransTimerUs, () => {
        probe(sent + 1);
      });
    };
    if (transmits === 0) this.stack.addressReady(iface, own);
    // Not at once: a host is made before its cards are plugged in, and a probe that nobody hears proves nothing.
    else this.stack.timers.after(0, () => probe(0));
  }

  /** The groups that an interface takes part in. */
  groups(iface: Interface): Address[] {
    const own = iface.addresses.filter((a) => a.address.family === 6 && a.state !== 'duplicate').map((a) => solicitedNode(a.address));
    return [ALL_NODES, ...(this.stack.forwarding ? [ALL_ROUTERS] : []), ...own];
  }

  listens(iface: Interface, group: Address): boolean {
    return this.groups(iface).some((g) => g.equals(group));
  }

  isTentative(address: Address): boolean {
    return this.stack.interfaces.some((i) => i.addresses.some((a) => a.state === 'tentative' && a.address.equals(address)));
  }

  // --- neighbours ---

  solicit(iface: Interface, neighbour: Neighbour, unicast: boolean): void {
    const source = iface.sourceFor(neighbour.address);
    if (source === undefined) return;
    const to = unicast ? neighbour.address : solicitedNode(neighbour.address);
    this.sendNeighbour(iface, to, source, Icmpv6Type.NeighbourSolicitation, 0, neighbour.address, { sourceMac: iface.mac }, unicast ? neighbour.mac : undefined);
  }

  input(packet: Packet, icmp: Icmp): void {
    // §7.1, §6.1: what has come through a router is not of this link.
    if (packet.hopLimit !== ND_HOP_LIMIT || icmp.code !== 0) return this.count('malformed');
    let fine = false;
    if (icmp.type === Icmpv6Type.NeighbourSolicitation) fine = this.inputSolicitation(packet, icmp);
    else if (icmp.type === Icmpv6Type.NeighbourAdvertisement) fine = this.inputAdvertisement(packet, icmp);
    else if (icmp.type === Icmpv6Type.RouterAdvertisement) fine = this.inputRouterAdvertisement(packet, icmp);
    else fine = this.inputRouterSolicitation(packet, icmp);
    if (!fine) this.counters.malformed++;
  }

  /** §7.2.3. */
  private inputSolicitation({ iface, source, destination }: Packet, { body }: Icmp): boolean {
    const message = parseNeighbour(body);
    if (message === undefined || message.target.isMulticast || isGroupMac(message.options.sourceMac ?? 0)) return false;
    const { target, options } = message;
    const probe = source.isUnspecified;
    if (probe && (options.sourceMac !== undefined || !destination.equals(solicitedNode(target)))) return false;
    const own = iface.addresses.find((a) => a.address.equals(target) && a.state !== 'duplicate');
    if (own === undefined) return true;
    if (own.state === 'tentative') {
      // RFC 4862 §5.4.3: somebody else looks for the same address; somebody who uses it would have answered.
      if (probe) this.duplicate(iface, own);
      return true;
    }
    if (!probe && options.sourceMac !== undefined) iface.neighbours.hear(iface.neighbours.entry(source), options.sourceMac);
    this.counters.solicitationsAnswered++;
    const flags = (this.stack.forwarding ? AdvertisementFlag.Router : 0) + (probe ? 0 : AdvertisementFlag.Solicited) + AdvertisementFlag.Override;
    this.sendNeighbour(iface, probe ? ALL_NODES : source, target, Icmpv6Type.NeighbourAdvertisement, flags, target, { targetMac: iface.mac });
    return true;
  }

  /** §7.2.5. */
  private inputAdvertisement({ iface, destination }: Packet, { rest, body }: Icmp): boolean {
    const message = parseNeighbour(body);
    const solicited = (rest & AdvertisementFlag.Solicited) !== 0;
    // As for ARP (RFC 1812 §3.3.2): a group's address is no station's.
    if (message === undefined || message.target.isMulticast || (destination.isMulticast && solicited) || isGroupMac(message.options.targetMac ?? 0)) return false;
    const { target, options } = message;
    const own = iface.addresses.find((a) => a.address.equals(target));
    if (own !== undefined) {
      if (own.state === 'tentative') this.duplicate(iface, own);
      return true;
    }
    const neighbour = iface.neighbours.find(target);
    if (neighbour === undefined || neighbour.state === 'failed') return true;
    const override = (rest & AdvertisementFlag.Override) !== 0;
    const { targetMac } = options;
    const isRouter = rest >>> 31 === 1;
    // A router that is none any more is no way out.
    if (neighbour.isRouter && !isRouter) this.stack.routes.remove(DEFAULT_ROUTE, iface, target);
    neighbour.isRouter = isRouter;
    if (neighbour.state === 'incomplete') {
      if (targetMac === undefined) return true;
      if (solicited) iface.neighbours.confirm(neighbour, targetMac);
      else iface.neighbours.hear(neighbour, targetMac);
    } else if (!override && targetMac !== undefined && targetMac !== neighbour.mac) {
      if (neighbour.state === 'reachable') iface.neighbours.suspect(neighbour);
    } else if (solicited) {
      iface.neighbours.confirm(neighbour, targetMac ?? neighbour.mac);
    } else if (targetMac !== undefined) {
      iface.neighbours.hear(neighbour, targetMac);
    }
    return true;
  }

  private duplicate(iface: Interface, own: LocalAddress): void {
    this.counters.duplicates++;
    this.stack.addressTaken(iface, own);
  }

  // --- routers, as a host ---

  private solicitRouters(iface: Interface, sent: number): void {
    const { timers, random } = this.stack;
    const waitUs = sent === 0 ? random.float() * MAX_RTR_SOLICITATION_DELAY_US : RTR_SOLICITATION_INTERVAL_US;
    timers.after(waitUs, () => {
      // §6.3.7: until a router has answered, three times.
      if (sent >= MAX_RTR_SOLICITATIONS || this.counters.routerAdvertisements > 0 || !this.stack.interfaces.includes(iface)) return;
      const source = iface.sourceFor(ALL_ROUTERS);
      const body = source === undefined ? new Uint8Array(0) : buildNdOptions({ sourceMac: iface.mac, prefixes: [] });
      this.send(iface, ALL_ROUTERS, source ?? UNSPECIFIED, { type: Icmpv6Type.RouterSolicitation, code: 0, rest: 0, body });
      this.solicitRouters(iface, sent + 1);
    });
  }

  /** §6.3.4. */
  private inputRouterAdvertisement({ iface, source }: Packet, { rest, body }: Icmp): boolean {
    const ra = parseRouterAdvertisement(rest, body);
    if (ra === undefined || !source.isLinkLocal || isGroupMac(ra.options.sourceMac ?? 0)) return false;
    if (!(iface.options.autoconfigure ?? !this.stack.forwarding)) return true;
    this.counters.routerAdvertisements++;
    if (ra.hopLimit > 0) this.hopLimit = ra.hopLimit;
    const { neighbours } = iface;
    if (ra.reachableMs > 0) neighbours.options.reachableTimeUs = ra.reachableMs * 1e3;
    if (ra.retransMs > 0) neighbours.options.retransTimerUs = ra.retransMs * 1e3;
    if (ra.options.sourceMac !== undefined) {
      const router = neighbours.entry(source);
      neighbours.hear(router, ra.options.sourceMac);
      router.isRouter = true;
    }
    const key = `${iface.index} ${source.toString()}`;
    this.routerExpiry.get(key)?.cancel();
    const forget = (): void => {
      this.stack.routes.remove(DEFAULT_ROUTE, iface, source);
    };
    if (ra.lifetimeS === 0) forget();
    else {
      this.stack.routes.add({ prefix: DEFAULT_ROUTE, interface: iface, gateway: source, metric: 1024 });
      this.routerExpiry.set(key, this.stack.timers.after(ra.lifetimeS * 1e6, forget));
    }
    for (const prefix of ra.options.prefixes) this.takePrefix(iface, prefix);
    return true;
  }

  /** §6.3.4 for what is on the link, RFC 4862 §5.5.3 for addresses. */
  private takePrefix(iface: Interface, info: PrefixInformation): void {
    const prefix = new Prefix(info.prefix, info.length);
    if (info.prefix.isLinkLocal || info.prefix.isMulticast) return;
    if (info.onLink) {
      const key = `${iface.index} ${prefix.toString()}`;
      this.prefixExpiry.get(key)?.cancel();
      const forget = (): void => {
        this.stack.routes.remove(prefix, iface);
      };
      if (info.validS === 0) forget();
      else {
        this.stack.routes.add({ prefix, interface: iface });
        if (info.validS !== Infinity) this.prefixExpiry.set(key, this.stack.timers.after(info.validS * 1e6, forget));
      }
    }
    if (!info.autonomous || info.length !== 64 || info.preferredS > info.validS) return;
    const address = eui64(info.prefix, iface.mac);
    const key = `${iface.index} ${address.toString()}`;
    const known = this.autoconfigured.get(key);
    const now = this.stack.nowUs();
    let validS = info.validS;
    if (known === undefined) {
      if (validS === 0 || iface.addresses.some((a) => a.address.equals(address))) return;
    } else {
      const leftS = (known.validUntilUs - now) / 1e6;
      if (validS <= MIN_VALID_S && validS <= leftS) validS = Math.min(leftS, MIN_VALID_S);
    }
    const entry: Autoconfigured = known ?? { own: this.stack.addAddress(iface, new Prefix(address, 64), false), expiry: undefined, validUntilUs: 0 };
    entry.expiry?.cancel();
    entry.validUntilUs = now + validS * 1e6;
    entry.expiry =
      validS === Infinity
        ? undefined
        : this.stack.timers.after(validS * 1e6, () => {
            this.autoconfigured.delete(key);
            this.stack.removeAddress(iface, entry.own);
          });
    this.autoconfigured.set(key, entry);
  }

  // --- as a router ---

  /** §6.2.4: a few at short intervals first. */
  private advertiseRegularly(iface: Interface, advertise: Advertise, sent: number): void {
    const { timers, random } = this.stack;
    const longUs = (advertise.intervalS ?? 600) * 1e6;
    const us = (1 / 3 + (2 / 3) * random.float()) * longUs;
    timers.after(sent < MAX_INITIAL_RTR_ADVERTISEMENTS ? Math.min(us, MAX_INITIAL_RTR_ADVERT_INTERVAL_US) : us, () => {
      if (!this.stack.interfaces.includes(iface)) return;
      this.advertise(iface, advertise);
      this.advertiseRegularly(iface, advertise, sent + 1);
    });
  }

  private advertise(iface: Interface, { prefixes, lifetimeS = 1800, mtu }: Advertise): void {
    const source = iface.sourceFor(ALL_NODES);
    if (source?.isLinkLocal !== true) return;
    this.counters.routerAdvertisementsSent++;
    const ra = buildRouterAdvertisement({
      hopLimit: this.hopLimit,
      lifetimeS: this.stack.forwarding ? lifetimeS : 0,
      reachableMs: 0,
      retransMs: 0,
      options: {
        sourceMac: iface.mac,
        ...(mtu !== undefined && { mtu }),
        prefixes: prefixes.map((text) => {
          const { address, length } = Prefix.parse(text);
          return { prefix: address, length, onLink: true, autonomous: true, validS: 2592000, preferredS: 604800 };
        }),
      },
    });
    this.send(iface, ALL_NODES, source, { type: Icmpv6Type.RouterAdvertisement, code: 0, ...ra });
  }

  private inputRouterSolicitation({ iface, source }: Packet, { body }: Icmp): boolean {
    const options = parseNdOptions(body);
    if (options === undefined || (source.isUnspecified && options.sourceMac !== undefined) || isGroupMac(options.sourceMac ?? 0)) return false;
    if (options.sourceMac !== undefined) iface.neighbours.hear(iface.neighbours.entry(source), options.sourceMac);
    const { advertise } = iface.options;
    // §6.2.6: after a random while, to all.
    if (advertise !== undefined) {
      this.stack.timers.after(this.stack.random.float() * MAX_RA_DELAY_US, () => {
        this.advertise(iface, advertise);
      });
    }
    return true;
  }

  // --- out ---

  private sendNeighbour(
    iface: Interface,
    to: Address,
    source: Address,
    type: number,
    flags: number,
    target: Address,
    options: { sourceMac?: Mac; targetMac?: Mac },
    knownMac?: Mac,
  ): void {
    const body = buildNeighbour(target, { ...options, prefixes: [] });
    this.send(iface, to, source, { type, code: 0, rest: flags >>> 0, body }, knownMac);
  }

  /** On this link, whatever routes say. `knownMac`: past the neighbour cache, which is waiting for just this answer. */
  private send(iface: Interface, destination: Address, source: Address, icmp: Icmp, knownMac?: Mac): void {
    const payload = buildIcmp(icmp, pseudo(source, destination, 8 + icmp.body.length));
    const mac = destination.isMulticast ? groupMac(destination) : knownMac;
    this.stack.output.sendOnLink(iface, { destination, source, protocol: Protocol.Icmpv6, payload, hopLimit: ND_HOP_LIMIT }, mac);
  }

  /** For the card's filter: the station addresses of all groups. */
  groupMacs(iface: Interface): string[] {
    return [...new Set([ALL_HOSTS, ...this.groups(iface)].map((g) => formatMac(groupMac(g))))];
  }

  private count(cause: keyof NdCounters): void {
    this.counters[cause]++;
  }
}
