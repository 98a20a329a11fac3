import { type Random, RingcubeError } from '../../base/index.js';
import { type HostNumber, type Lease, OverlayNode, type OverlayOptions, identifierKey, initialHolder } from '../../overlay/index.js';
import { type World } from './world.js';

/** What all hosts of an overlay have in common. */
export type CommonOptions = Omit<OverlayOptions, 'host' | 'transport' | 'clock' | 'directory' | 'random'>;

/** A host of the world that runs the overlay; it does nothing before start(). */
export function addNode(world: World, host: HostNumber, options: CommonOptions, random: Random): OverlayNode {
  return world.addHost(host, (transport, clock, directory) => new OverlayNode({ ...options, host, transport, clock, directory, random: random.fork(`host ${host}`) }));
}

/**
 * An overlay of hosts 0 … hosts − 1 that stands from the beginning, each with its even share of the identifiers, as if they had joined long ago: joining takes
 * thousands of hosts minutes. The directory's clock must not have begun to run.
 */
export function formOverlay(world: World, hosts: number, options: CommonOptions & { leaseUs: number }, random: Random): OverlayNode[] {
  const nodes = Array.from({ length: hosts }, (_, host) => addNode(world, host, options, random));
  const { cube } = nodes[0];
  const sinceUs = world.clock.nowUs();
  const leases: Lease[] = [];
  for (let host = 0; host < hosts; host++) {
    world.directory.lease(options.leaseUs, (_failure, lease) => {
      leases[host] = lease!;
    });
  }
  world.run(sinceUs);
  const held = nodes.map((): { identifier: number; revision: number }[] => []);
  const holderOf = (identifier: number): HostNumber => initialHolder(cube.size, hosts, identifier);
  for (let identifier = 0; identifier < cube.size; identifier++) {
    const host = holderOf(identifier);
    world.directory.cas(identifierKey(identifier), 0, String(host), leases[host].id, (failure, outcome) => {
      if (outcome?.swapped !== true) throw new RingcubeError('ERR_INVALID_ARGUMENT', `identifier ${identifier}: ${failure ?? 'stands in the directory already'}, must be free in a new one`);
      held[host].push({ identifier, revision: outcome.entry!.revision });
    });
  }
  world.run(sinceUs);
  for (const [host, node] of nodes.entries()) node.start({ lease: world.lend(host, leases[host]), sinceUs: world.clockOf(host).nowUs(), identifiers: held[host], holderOf });
  return nodes;
}
