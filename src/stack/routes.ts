import { type Address, type Prefix } from '../base/index.js';
import { type Interface } from './interface.js';

/** Where packets to a prefix go: out of an interface, to a gateway or (without one) to the destination itself. */
export interface Route {
  prefix: Prefix;
  interface: Interface;
  gateway?: Address;
  /** Of two for the same prefix the lower one is taken; default 0. */
  metric?: number;
}

/** Longest-prefix match (RFC 1812 §5.2.4.3): routes in order of length, so that the first that contains an address is it. */
export class RouteTable {
  private routes: Route[] = [];
  private changes = 0;

  constructor(private readonly epoch: { value: number }) {}

  /** Grows with every change: what was looked up before may not hold any more. */
  get generation(): number {
    return this.changes;
  }

  /** Routes, or addresses that they lead to, are others now. */
  changed(): void {
    this.changes++;
    this.epoch.value++;
  }

  add(route: Route): void {
    this.remove(route.prefix, route.interface, route.gateway);
    this.routes.push(route);
    this.routes.sort((a, b) => b.prefix.length - a.prefix.length || (a.metric ?? 0) - (b.metric ?? 0));
    this.changed();
  }

  remove(prefix: Prefix, via: Interface, gateway?: Address): void {
    const text = prefix.toString();
    const same = (a: Address | undefined, b: Address | undefined): boolean => (a === undefined || b === undefined ? a === b : a.equals(b));
    this.routes = this.routes.filter((r) => !(r.interface === via && r.prefix.toString() === text && same(r.gateway, gateway)));
    this.changed();
  }

  find(destination: Address): Route | undefined {
    for (const route of this.routes) if (route.prefix.contains(destination)) return route;
    return undefined;
  }

  list(): readonly Route[] {
    return this.routes;
  }
}
