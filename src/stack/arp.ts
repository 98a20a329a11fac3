import { Address } from '../base/index.js';
import { type Interface, type LocalAddress } from './interface.js';
import { type Neighbour } from './neighbours.js';
import { type Stack } from './stack.js';
import { ArpOperation, buildArp, parseArp } from './wire/arp.js';
import { BROADCAST_MAC, EtherType, type Mac, isGroupMac } from './wire/ethernet.js';

/** RFC 5227 §1.1. */
const PROBE_WAIT_US = 1e6;
const PROBE_NUM = 3;
const PROBE_MIN_US = 1e6;
const PROBE_MAX_US = 2e6;
const ANNOUNCE_WAIT_US = 2e6;
const ANNOUNCE_NUM = 2;
const ANNOUNCE_INTERVAL_US = 2e6;
const DEFEND_INTERVAL_US = 10e6;

const ANY = Address.v4(0);

export interface ArpCounters {
  received: number;
  malformed: number;
  requestsAnswered: number;
  conflicts: number;
}

/** ARP (RFC 826) with address conflict detection (RFC 5227). */
export class ArpService {
  readonly counters: ArpCounters = { received: 0, malformed: 0, requestsAnswered: 0, conflicts: 0 };
  private readonly defended = new Map<string, number>();

  constructor(private readonly stack: Stack) {}

  input(iface: Interface, bytes: Uint8Array): void {
    this.counters.received++;
    const arp = parseArp(bytes);
    // RFC 1812 §3.3.2: a group's address is no station's, or one packet would turn what is for a neighbour into what is for all.
    if (arp === undefined || arp.sender.isMulticast || arp.sender.isBroadcast || isGroupMac(arp.senderMac)) return this.count('malformed');
    if (arp.senderMac === iface.mac) return; // our own, come back
    const { sender, target, senderMac, operation } = arp;
    const claimed = iface.addresses.find((own) => (own.state !== 'duplicate' && own.address.equals(sender)) || (own.state === 'tentative' && sender.isUnspecified && own.address.equals(target)));
    if (claimed !== undefined) return this.conflict(iface, claimed);
    const forUs = iface.owns(target);
    // RFC 826's merge: who is known already is brought up to date; who asks for us is worth knowing.
    const known = sender.isUnspecified ? undefined : iface.neighbours.find(sender);
    const neighbour = known ?? (forUs && sender.isSource ? iface.neighbours.entry(sender) : undefined);
    if (neighbour !== undefined) {
      if (operation === ArpOperation.Reply && forUs) iface.neighbours.confirm(neighbour, senderMac);
      else iface.neighbours.hear(neighbour, senderMac);
    }
    if (operation === ArpOperation.Request && forUs) {
      this.counters.requestsAnswered++;
      this.send(iface, senderMac, ArpOperation.Reply, target, senderMac, sender);
    }
  }

  /** Asks all, or (unicast poll, RFC 1122 §2.3.2.1) the station that had the address. */
  solicit(iface: Interface, neighbour: Neighbour, unicast: boolean): void {
    const source = iface.sourceFor(neighbour.address);
    if (source === undefined) return;
    this.send(iface, unicast ? neighbour.mac : BROADCAST_MAC, ArpOperation.Request, source, unicast ? neighbour.mac : 0, neighbour.address);
  }

  /** Takes an address into use: after probes (RFC 5227 §2.1.1) or at once, and announced in both cases (§2.3). */
  claim(iface: Interface, own: LocalAddress): void {
    const { timers, random } = this.stack;
    const inUse = (): void => {
      this.stack.addressReady(iface, own);
      // Not at once: a host is made before its cards are plugged in.
      timers.after(0, () => this.announce(iface, own, ANNOUNCE_NUM));
    };
    if (iface.options.probe !== true) return inUse();
    const probe = (sent: number): void => {
      if (own.state === 'duplicate') return;
      this.send(iface, BROADCAST_MAC, ArpOperation.Request, ANY, 0, own.address);
      if (sent + 1 < PROBE_NUM) {
        timers.after(PROBE_MIN_US + random.float() * (PROBE_MAX_US - PROBE_MIN_US), () => probe(sent + 1));
        return;
      }
      timers.after(ANNOUNCE_WAIT_US, () => {
        if (own.state !== 'duplicate') inUse();
      });
    };
    timers.after(random.float() * PROBE_WAIT_US, () => probe(0));
  }

  private announce(iface: Interface, own: LocalAddress, times: number): void {
    if (times === 0 || own.state !== 'preferred') return;
    this.send(iface, BROADCAST_MAC, ArpOperation.Request, own.address, 0, own.address);
    this.stack.timers.after(ANNOUNCE_INTERVAL_US, () => {
      this.announce(iface, own, times - 1);
    });
  }

  /** Another station uses the address: before we do, it is not ours; afterwards it is defended (§2.4 b, c). */
  private conflict(iface: Interface, own: LocalAddress): void {
    this.counters.conflicts++;
    if (own.state === 'tentative') {
      this.stack.addressTaken(iface, own);
      return;
    }
    if (own.state !== 'preferred') return;
    const key = own.address.toString();
    const now = this.stack.nowUs();
    // At most once in DEFEND_INTERVAL, or two defenders would answer each other for ever. We keep the address: it is a host's
    // configured one, which is meant to be stable (§2.4 c).
    if (now - (this.defended.get(key) ?? -Infinity) < DEFEND_INTERVAL_US) return;
    this.defended.set(key, now);
    this.stack.onConflict(iface, own.address);
    this.send(iface, BROADCAST_MAC, ArpOperation.Request, own.address, 0, own.address);
  }

  private send(iface: Interface, to: Mac, operation: number, sender: Address, targetMac: Mac, target: Address): void {
    iface.sendFrame(to, EtherType.Arp, buildArp({ operation, senderMac: iface.mac, sender, targetMac, target }));
  }

  private count(cause: keyof ArpCounters): void {
    this.counters[cause]++;
  }
}
