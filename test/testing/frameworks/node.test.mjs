import assert from 'node:assert/strict';
import test from 'node:test';
import { withNetwork } from 'ringcube/testing';
import { options, ping } from './ping.mjs';

test('the host answers', () =>
  withNetwork(options, async (net) => {
    assert.equal(await ping(net), 0);
  }));
