// The two programs that talk in tools/record-traffic.sh: `serve` in one namespace, `talk ADDRESS BYTES` in the other.
// The queries come from node's own resolver (c-ares) and are parsed by it, so that their wire format isn't only our word.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const DNS_PORT = 53;
const RTP_PORTS = [5004, 5005, 5006, 5007]; // RTP and RTCP of both streams: a bound port draws no ICMP unreachable
const ECHO_PORT = 47001; // no protocol of its own in Wireshark, which would guess at the payload and call it malformed
const TCP_PORT = 47002;
const ZONE = 'ringcube.test'; // RFC 6761 §6.2: a name that never leaves a test
const TYPE = { A: 1, PTR: 12, MX: 15, TXT: 16, AAAA: 28 };

const pattern = (length) => Buffer.from({ length }, (_, i) => (i * 167 + (i >> 8) * 13) & 0xff);
const label = (text) => Buffer.concat([Buffer.of(text.length), Buffer.from(text)]);

// Pointers (RFC 1035 §4.1.4) are used where a name allows them: 0xc00c is the question's, at the header's end.
function rdata(type) {
  switch (type) {
    case TYPE.A:
      return Buffer.of(198, 18, 0, 2);
    case TYPE.AAAA:
      return Buffer.from('fd000018000000000000000000000002', 'hex');
    case TYPE.MX:
      return Buffer.concat([Buffer.of(0, 10), label('mail'), Buffer.of(0xc0, 0x0c)]);
    case TYPE.PTR:
      return Buffer.concat([...ZONE.split('.').map(label), Buffer.of(0)]);
    case TYPE.TXT:
      return Buffer.concat([label('recorded between two namespaces'), label('x'.repeat(200))]);
    default:
      return undefined;
  }
}

function answer(query) {
  let end = 12;
  while (query[end] !== 0) end += query[end] + 1;
  const name = query.toString('latin1', 12, end);
  const data = name.includes('absent') ? undefined : rdata(query.readUInt16BE(end + 1));
  const question = query.subarray(12, end + 5);
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  header.writeUInt16BE(0x8480 | (query.readUInt16BE(2) & 0x0100) | (data ? 0 : 3), 2); // QR AA RA, RD as asked, NXDOMAIN
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(data ? 1 : 0, 6);
  if (!data) return Buffer.concat([header, question]);
  const record = Buffer.alloc(12);
  record.writeUInt16BE(0xc00c, 0);
  question.copy(record, 2, question.length - 4); // type and class
  record.writeUInt32BE(300, 6);
  record.writeUInt16BE(data.length, 10);
  return Buffer.concat([header, question, record, data]);
}

// A udp6 socket on :: takes both families.
async function bound(port, reply) {
  const socket = createSocket('udp6');
  socket.on('message', (message, from) => {
    const out = reply(message);
    if (out) socket.send(out, from.port, from.address);
  });
  socket.bind(port, '::');
  await once(socket, 'listening');
}

async function serve() {
  await bound(DNS_PORT, answer);
  await bound(ECHO_PORT, (message) => message);
  for (const port of RTP_PORTS) await bound(port, () => undefined);
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const chunks = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('end', () => {
      const all = Buffer.concat(chunks);
      socket.end(all.equals(pattern(all.length)) ? `took ${all.length}\n` : 'damaged\n');
    });
  });
  server.listen(TCP_PORT, '::');
  await once(server, 'listening');
  console.log('ready');
}

async function talkDns(server) {
  const resolver = new Resolver({ timeout: 1000, tries: 2 });
  resolver.setServers([server.includes(':') ? `[${server}]` : server]);
  for (let i = 0; i < 4; i++) {
    const name = `host${i}.${ZONE}`;
    assert.deepEqual(await resolver.resolve4(name), ['198.18.0.2']);
    assert.deepEqual(await resolver.resolve6(name), ['fd00:18::2']);
    assert.deepEqual(await resolver.resolveMx(name), [{ exchange: `mail.${name}`, priority: 10 }]);
    assert.equal((await resolver.resolveTxt(name))[0].length, 2);
    await assert.rejects(resolver.resolve4(`absent${i}.${ZONE}`), { code: 'ENOTFOUND' });
  }
  assert.deepEqual(await resolver.reverse(server), [ZONE]);
}

// 1472 and 1452 bytes are the most that one 1500-byte packet takes in IPv4 and IPv6; above them the sender fragments.
async function talkEcho(server) {
  const socket = createSocket(server.includes(':') ? 'udp6' : 'udp4');
  for (const length of [0, 1, 18, 333, 1452, 1473, 3000]) {
    const sent = pattern(length);
    const heard = once(socket, 'message', { signal: globalThis.AbortSignal.timeout(2000) });
    socket.send(sent, ECHO_PORT, server);
    const [echoed] = await heard;
    assert.ok(echoed.equals(sent), `echo of ${length} bytes came back otherwise`);
  }
  socket.close();
}

async function talkTcp(server, length) {
  const socket = connect(TCP_PORT, server);
  socket.end(pattern(length));
  let reply = '';
  for await (const chunk of socket) reply += chunk;
  assert.equal(reply, `took ${length}\n`);
}

const [mode, address, bytes] = process.argv.slice(2);
if (mode === 'serve') await serve();
else {
  await talkDns(address);
  await talkEcho(address);
  await talkTcp(address, Number(bytes));
}
