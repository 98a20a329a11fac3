import t from 'tap';
import { withNetwork } from 'ringcube/testing';
import { options, ping } from './ping.mjs';

t.test('the host answers', (t) =>
  withNetwork(options, async (net) => {
    t.equal(await ping(net), 0);
  }, t));
