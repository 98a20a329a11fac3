// UDP between our sockets and those of the Linux kernel, by the programs that people use: nping, socat, ncat.
import t from 'tap';
import { type IcmpErrorKind, type UdpSocket, type UdpSocketOptions } from '../../src/stack/index.js';
import { HOST_MAC, KERNEL_MAC, PYTHON, type Peers, type Side, beside, lacking, until } from './peers.js';

const OURS = ['198.18.0.2', 'fd00::2'] as const;
const THEIRS = ['198.18.0.1', 'fd00::1'] as const;
const PORT = 7007;

/** Answers all with what they sent, from the buffers it came in where it came in one. */
function echo({ host }: Peers): UdpSocket {
  return host.openUdp({
    port: PORT,
    onDatagrams: (batch, socket) => {
      for (let i = batch.from; i < batch.to; i++) socket.reply(batch, i);
    },
  });
}

/** Sends until what comes back is the same, as socat may be between two children when a datagram comes; else throws in the end. */
async function echoed(socket: UdpSocket, send: () => void, data: string): Promise<{ address: string; port: number }> {
  let from: { address: string; port: number } | undefined;
  const listen = async (): Promise<void> => {
    while (from === undefined) {
      const answer = await socket.receive();
      if (answer === undefined) return;
      if (Buffer.from(answer.data).toString() === data) from = { address: answer.from.address.toString(), port: answer.from.port };
    }
  };
  const listening = listen();
  let againMs = 0;
  await until(`${data.length} bytes come back`, () => {
    if (from === undefined && Date.now() >= againMs) {
      send();
      againMs = Date.now() + 2000;
    }
    return from !== undefined;
  });
  await listening;
  return from!;
}

/** A server of the kernel's that answers all, until it is ended: with room for a burst, as the default is a few hundred datagrams. */
async function kernelEcho(side: Side, port: number): Promise<void> {
  const lines = [
    'import socket',
    's = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)',
    's.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)', // SO_RCVBUFFORCE of asm-generic/socket.h
    `s.bind(("::", ${port}))`,
    'while True:',
    '  data, peer = s.recvfrom(65536)',
    '  s.sendto(data, peer)',
  ];
  side.namespace.spawn(PYTHON, ['-c', lines.join('\n')], { stdio: 'ignore' });
  await listening(side, port);
}

async function listening(side: Side, port: number): Promise<void> {
  const shown = await side.shows('cat /proc/net/udp /proc/net/udp6', new RegExp(`:${port.toString(16).toUpperCase().padStart(4, '0')} `));
  if (shown === '') throw new Error(`nobody listens on port ${port}`);
}

/** Letters in an order of their own, so that a part in the wrong place shows. */
function text(length: number): string {
  return Array.from({ length }, (_, i) => String.fromCharCode(97 + ((i * 7 + (i >> 8)) % 26))).join('');
}

t.test('nping, socat and ncat hear their datagrams back (RFC 768), whole and in fragments', { skip: lacking('nping', 'socat', 'ncat') }, beside({}, async (t, peers) => {
  const { side, host } = peers;
  const socket = echo(peers);
  for (const address of OURS) {
    const v6 = address.includes(':');
    // nping finds no way of its own to an IPv6 address without a route through a router.
    const way = v6 ? `-6 -e tap0 -S fd00::1 --source-mac ${KERNEL_MAC} --dest-mac ${HOST_MAC} ` : '';
    const said = await side.run(`nping ${way}-g 40000 --udp -c 5 --delay 20ms -p ${PORT} --data-length 100 ${address}`);
    t.match(said, /Raw packets sent: 5 .*Rcvd: 5 .*Lost: 0/s, `nping, ${address}`);
    for (const length of [1, 100, 1472, 1473, 9000, 60_000]) {
      const input = text(length);
      const to = v6 ? `UDP6:[${address}]:${PORT}` : `UDP4:${address}:${PORT}`;
      // -b: one datagram for the whole input; -T: it ends when nothing has come for a while.
      const { stdout } = await side.exec(`socat -b 65507 -T 0.3 STDIO ${to}`, { input });
      t.ok(stdout === input, `socat, ${address}: ${length} bytes, got ${stdout.length}`);
    }
    const { stderr } = await side.namespace.exec('ncat', ['-u', address, `${PORT}`, '-c', 'echo by ncat; read back; echo $back >&2']);
    t.equal(stderr, 'by ncat\n', `ncat, ${address}`);
  }
  t.equal(socket.counters.received, 2 * (5 + 6 + 1));
  t.equal(socket.counters.sent, socket.counters.received);
  t.match(host.stack.udp.counters, { badChecksum: 0, truncated: 0, noPort: 0 });
}));

t.test('socat in the kernel\'s place answers us', { skip: lacking('socat') }, beside({}, async (t, { side, host }) => {
  for (const [i, address] of THEIRS.entries()) {
    const port = 9000 + i;
    side.namespace.spawn('socat', ['-b', '65507', `UDP${i === 0 ? 4 : 6}-RECVFROM:${port},fork`, 'EXEC:cat'], { stdio: 'ignore' });
    await listening(side, port);
    const open = host.openUdp();
    const connected = host.openUdp();
    connected.connect(port, address);
    for (const length of [0, 1, 1000, 1473, 20_000]) {
      const data = text(length);
      // An empty datagram ends socat's input, and gets no answer: it is only to harm nobody.
      if (length === 0) {
        t.equal(open.send(data, port, address), 'sent');
        continue;
      }
      const send = (): void => {
        t.equal(open.send(data, port, address), 'sent', `${address}: ${length} bytes`);
      };
      t.same(await echoed(open, send, data), { address, port });
      t.same(await echoed(connected, () => connected.send(data), data), { address, port });
    }
    open.close();
    connected.close();
  }
}));

t.test('1,000 datagrams each way, none lost and none changed', { skip: lacking() }, beside({}, async (t, { side, host }) => {
  await kernelEcho(side, 9000);
  for (const address of THEIRS) {
    const came = new Set<string>();
    const socket = host.openUdp({
      onDatagrams: (batch) => {
        for (let i = batch.from; i < batch.to; i++) came.add(Buffer.from(batch.payload(i)).toString());
      },
    });
    const flow = socket.connect(9000, address);
    // So that its station address is known: only a few datagrams wait for that.
    flow.send(Buffer.from('first'));
    await until('the first has come back', () => came.delete('first'));
    const wanted = Array.from({ length: 1000 }, (_, n) => `${n} ${text(n)}`);
    const refused: string[] = [];
    for (const [n, data] of wanted.entries()) {
      // Not more on their way at once than the rings of both ends hold.
      if (n % 100 === 99) await until(`${n} have come back`, () => came.size >= n - 10);
      const result = flow.send(Buffer.from(data));
      if (result !== 'sent') refused.push(`${n}: ${result}`);
    }
    await until('all have come back', () => came.size === 1000).catch(() => undefined);
    t.same(refused, []);
    t.same([...came].filter((data) => !wanted.includes(data)), []);
    t.equal(came.size, 1000, address);
    t.match(socket.counters, { sent: 1001, received: 1001, sendDropped: 0, errors: 0 });
    socket.close();
  }
}));

t.test('a closed port: the kernel refuses us, and we the kernel (RFC 1122 §4.1.3.1, RFC 4443 §3.1)', { skip: lacking() }, beside({}, async (t, { side, host }) => {
  for (const [i, address] of THEIRS.entries()) {
    const errors: [IcmpErrorKind, string, number][] = [];
    const socket = host.openUdp({ onError: (kind, from, port) => errors.push([kind, from.toString(), port]) });
    for (const send of [() => socket.send('anybody?', 9, address), () => socket.connect(10, address).send(Buffer.alloc(8000))]) {
      const before = errors.length;
      t.equal(send(), 'sent');
      await until('we are told', () => errors.length > before);
    }
    t.same(errors, [['portUnreachable', address, 9], ['portUnreachable', address, 10]]);
    socket.close();

    const refused = await side.python([
      'import socket',
      `s = socket.socket(socket.${i === 0 ? 'AF_INET' : 'AF_INET6'}, socket.SOCK_DGRAM)`,
      's.settimeout(10)',
      `s.connect(("${OURS[i]}", 9))`,
      'for data in b"anybody?", b"x" * 5000:',
      '  s.send(data)',
      '  try: s.recv(1)',
      '  except ConnectionRefusedError: print("refused")',
    ]);
    t.equal(refused, 'refused\nrefused', 'connected, the kernel tells its program');
  }
  t.equal(host.stack.icmp.counters.errorsSent, 4);
}));

t.test('a narrower link on the way: we learn its MTU from the kernel\'s router (RFC 1191 §6.1, RFC 8201 §4)', { skip: lacking() }, beside(
  {
    host: { routes: [{ prefix: '198.19.0.0/24', gateway: '198.18.0.1' }, { prefix: 'fd00:99::/64', gateway: 'fd00::1' }] },
    sides: [{ sysctls: { 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1 } }, {}],
  },
  async (t, peers) => {
    const { sides: [router, far], host } = peers;
    await router.run(`ip link add v0 mtu 1300 type veth peer name v1 mtu 1300 netns ${far.namespace.name}`);
    for (const [i, side] of [router, far].entries()) {
      await side.run(`ip addr add 198.19.0.${i + 1}/24 dev v${i}`);
      await side.run(`ip addr add fd00:99::${i + 1}/64 dev v${i} nodad`);
      await side.run(`ip link set v${i} up`);
    }
    await far.run('ip route add 198.18.0.0/24 via 198.19.0.1');
    await far.run('ip -6 route add fd00::/64 via fd00:99::1');
    await kernelEcho(far, 9000);
    for (const address of ['198.19.0.2', 'fd00:99::2']) {
      const errors: string[] = [];
      const socket = host.openUdp({ onError: (kind, from) => errors.push(`${kind} ${from.toString()}`) });
      socket.send(text(1400), 9000, address);
      await until('we are told', () => errors.length > 0);
      t.same(errors, [`tooBig ${address}`]);
      for (const length of [1400, 1200, 4000]) {
        socket.send(text(length), 9000, address);
        t.equal(Buffer.from((await socket.receive())!.data).toString(), text(length), `${length} bytes get there now`);
      }
      t.equal(errors.length, 1, 'and nobody complains any more');
      socket.close();
    }
  },
));

t.test('a neighbour that does not answer is reported as unreachable (RFC 1122 §2.3.2.2, RFC 4861 §7.2.2)', { skip: lacking() }, beside(
  { sides: [{ interface: { nud: { retransTimerUs: 50e3 } } }] },
  async (t, { host }) => {
    const errors: string[] = [];
    const socket = host.openUdp({ onError: (kind, address) => errors.push(`${kind} ${address.toString()}`) });
    for (const address of ['198.18.0.99', 'fd00::99']) t.equal(socket.send('hello', 9, address), 'sent');
    await until('both are known to be missing', () => errors.length === 2);
    t.same(errors.sort(), ['unreachable 198.18.0.99', 'unreachable fd00::99']);
  },
));

t.test('two queues of the TAP, and the kernel\'s checksum left to its card: all comes verified, each flow in order', { skip: lacking() }, beside(
  { sides: [{ tap: { queues: 2 }, interface: { nic: { queuePairs: 2 }, driver: { queuePairs: 2 } } }] },
  async (t, { side, host }) => {
    const [FLOWS, EACH] = [16, 100];
    const came: Record<string, number[]> = {};
    let [total, verified] = [0, 0];
    for (const destination of OURS) host.nics[0].steer({ protocol: 'udp', destination, destinationPort: PORT + 1 }, 1);
    const onDatagrams: UdpSocketOptions['onDatagrams'] = (batch) => {
      for (let i = batch.from; i < batch.to; i++) {
        total++;
        // One with a buffer of the card's came by the short way, for which the card must have verified its checksum.
        if (batch.handle[i] !== -1) verified++;
        const { u8, offset } = batch;
        (came[`${batch.source(i).toString()} ${batch.sourcePort(i)}`] ??= []).push((u8[offset[i]] << 8) | u8[offset[i] + 1]);
      }
    };
    for (const port of [PORT, PORT + 1]) host.openUdp({ port, onDatagrams });
    await side.python([
      'import socket, time',
      'flows = []',
      `for family, to in (socket.AF_INET, "${OURS[0]}"), (socket.AF_INET6, "${OURS[1]}"):`,
      `  for i in range(${FLOWS / 2}):`,
      '    s = socket.socket(family, socket.SOCK_DGRAM)',
      `    s.connect((to, ${PORT} + i % 2))`,
      '    flows.append(s)',
      `for n in range(${EACH}):`,
      '  for s in flows: s.send(n.to_bytes(2, "big") + b"x" * n)',
      '  time.sleep(0.001)',
      // One call and ten datagrams, which the kernel divides for a card that can't (udp(7), UDP_SEGMENT).
      'for s in flows:',
      '  s.setsockopt(17, 103, 1000)',
      `  s.send(b"".join(n.to_bytes(2, "big") + bytes(998) for n in range(${EACH}, ${EACH} + 10)))`,
    ]);
    await until('all have come', () => total >= FLOWS * (EACH + 10));
    const order = Array.from({ length: EACH + 10 }, (_, n) => n);
    t.equal(Object.keys(came).length, FLOWS);
    for (const [flow, numbers] of Object.entries(came)) t.same(numbers, order, flow);
    t.equal(verified, FLOWS * (EACH + 10));
    t.ok(side.tap.counters().checksumsCompleted >= FLOWS * EACH, 'none of them had a checksum when the kernel let go of it');
    t.equal(host.stack.udp.counters.badChecksum, 0);
    const { queues } = host.nics[0].counters();
    t.ok(queues[0].frames > 0 && queues[2].frames > 0, 'both receive queues were used');
  },
));
