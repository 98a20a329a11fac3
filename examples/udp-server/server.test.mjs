// The server of this folder, tested from both sides: by a client in the kernel's network, and by clients over a wire that loses frames.
//
//     sudo node --test examples/udp-server/server.test.mjs
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NetworkNamespace, withNetwork } from 'ringcube/testing';

const SERVER = fileURLToPath(new URL('server.mjs', import.meta.url));
const CLIENT = fileURLToPath(new URL('client.mjs', import.meta.url));
const PORT = 5000;
const RETRY_MS = 100;
const MAX_TRIES = 100;
const timeoutMs = 20_000;
const skip = NetworkNamespace.unavailable() ?? false;

async function startServer({ namespace }) {
  const server = namespace.spawn(process.execPath, [SERVER, PORT], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(server.stdout, 'data');
}

/** A client at user level: its function asks until it is answered. `heard` has every answer to each id. */
function userLevelClient(host, server) {
  const socket = host.openUdp();
  const heard = new Map();
  void (async () => {
    for await (const { data } of socket) {
      const answer = Buffer.from(data).toString();
      const id = answer.split(' ', 1)[0];
      heard.set(id, [...(heard.get(id) ?? []), answer]);
    }
  })();
  const ask = async (request) => {
    const id = request.split(' ', 1)[0];
    for (let i = 0; i < MAX_TRIES; i++) {
      socket.send(request, PORT, server);
      for (const until = Date.now() + RETRY_MS; Date.now() < until && !heard.has(id); ) await sleep(1);
      if (heard.has(id)) return heard.get(id)[0];
    }
    throw new Error(`no answer to: ${request}`);
  };
  return { ask, heard, socket };
}

test('a client of the kernel', { skip }, () =>
  withNetwork({ timeoutMs }, async (net) => {
    await startServer(net);
    const ask = (...requests) => net.namespace.exec(process.execPath, [CLIENT, '198.18.0.1', PORT, ...requests]).then(({ stdout }) => stdout);
    assert.equal(await ask('1 add apples 3', '2 add apples -1', '3 get apples'), '1 3\n2 2\n3 2\n');
    assert.equal(await ask('4 add apples x', '5 buy apples'), '4 error: AMOUNT must be a whole number\n5 error: ID add NAME AMOUNT, or ID get NAME\n');
  }));

test('over a wire that loses 10 % of the frames', { skip }, () =>
  withNetwork({ timeoutMs, link: { loss: 0.1, duplicate: 0.05, delayUs: 500 } }, async (net) => {
    await startServer(net);
    const clients = ['198.18.0.1', 'fd00::1', '198.18.0.1'].map((server) => userLevelClient(net.host, server));
    await Promise.all(
      clients.map(async ({ ask }) => {
        for (let id = 1; id <= 100; id++) assert.match(await ask(`${id} add pears 1`), new RegExp(`^${id} \\d+$`));
      }),
    );
    assert.equal(await clients[0].ask('101 get pears'), '101 300', 'each was counted, and only once');
    assert.ok(net.link.counters().every(({ lost }) => lost > 0), 'frames were lost both ways');
  }));

test('the same request again', { skip }, () =>
  withNetwork({ timeoutMs }, async (net) => {
    await startServer(net);
    const { ask, heard, socket } = userLevelClient(net.host, '198.18.0.1');
    assert.equal(await ask('1 add plums 5'), '1 5');
    await ask('2 add plums 1');
    for (let i = 0; i < 9; i++) socket.send('1 add plums 5', PORT, '198.18.0.1');
    while (heard.get('1').length < 10) await sleep(1);
    assert.deepEqual(new Set(heard.get('1')), new Set(['1 5']), 'is answered alike');
    assert.equal(await ask('3 get plums'), '3 6', 'and done once');
  }));
