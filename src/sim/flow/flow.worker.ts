// Builds delivery trees, one after the other, and measures them.
import { Random } from '../../base/index.js';
import { KnCube, Router } from '../../overlay/index.js';
import { serveJobs } from '../jobs.js';
import { HostNetwork } from '../topology/host-network.js';
import { type FlowData, type FlowOrder } from './flows.js';
import { type FlowSummary, measureFlow } from './penalty.js';
import { DeliveryTree } from './tree.js';

serveJobs((data: FlowData) => {
  const network = HostNetwork.from(data.network);
  let tree: DeliveryTree | undefined;
  let built = -1;
  return ({ shape, routing, publisher, subscribers, seed, penalties }: FlowOrder, progress: (share: number) => void): FlowSummary => {
    const { k, n, hostOf } = data.shapes[shape];
    if (tree === undefined || shape !== built) {
      tree = undefined; // let go of before another is made
      tree = new DeliveryTree(new KnCube(k, n), hostOf, network);
      built = shape;
    }
    tree.build(new Router(tree.cube, routing, new Random(seed)), publisher, subscribers, progress);
    return measureFlow(tree, network, hostOf[publisher], subscribers, penalties);
  };
});
