import { expect, test } from 'vitest';
import { withNetwork } from 'ringcube/testing';
import { options, ping } from './ping.mjs';

test('the host answers', () =>
  withNetwork(options, async (net) => {
    expect(await ping(net)).toBe(0);
  }));
