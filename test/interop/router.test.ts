// A router of ours between two Linux kernels: traceroute and mtr see it, path MTU discovery works through it. Side 0 is
// 198.18.0.1 and fd00::1, side 1 is 198.18.1.1 and fd00:1::1; the router is .2 and ::2 on both.
import t, { type Test } from 'tap';
import { HOST_MAC, type Peers, type SideOptions, beside, lacking } from './peers.js';

const FAR = { 4: '198.18.1.1', 6: 'fd00:1::1' } as const;
const HOP = { 4: '198.18.0.2', 6: 'fd00::2' } as const;

const between = (sides: [SideOptions, SideOptions], body: (t: Test, peers: Peers) => Promise<void>) =>
  beside({ host: { forwarding: true }, sides }, async (t, peers) => {
    for (const [i, side] of peers.sides.entries()) {
      await side.run(`ip route add 198.18.0.0/15 via 198.18.${i}.2`);
      await side.run(`ip -6 route add fd00::/16 via fd00:${i}::2`);
    }
    await body(t, peers);
  });

t.test('ping and traceroute go through, by UDP, ICMP and TCP; mtr sees no loss', { skip: lacking('ping', 'traceroute', 'mtr') }, between([{}, {}], async (t, { sides: [side], host }) => {
  for (const family of [4, 6] as const) {
    const pinged = await side.run(`ping -n -c 3 -i 0.2 -W 5 ${FAR[family]}`);
    t.match(pinged, /ttl=63/, 'one hop less (RFC 1812 §5.3.1, RFC 8200 §3)');
    for (const kind of ['', '-I ', '-T ']) {
      const lines = (await side.run(`traceroute -${family} -n -q 2 -w 3 -m 5 ${kind}${FAR[family]}`)).split('\n').slice(1);
      t.equal(lines.length, 2, `traceroute ${kind}${FAR[family]}`);
      t.match(lines[0], new RegExp(`^ *1  ${HOP[family]} +[\\d.]+ ms +[\\d.]+ ms$`));
      t.match(lines[1], new RegExp(`^ *2  ${FAR[family]} +[\\d.]+ ms +[\\d.]+ ms$`));
    }
    const said = await side.run(`mtr -${family} -n -r -c 3 -i 0.1 -G 0.3 ${FAR[family]}`);
    t.match(said, new RegExp(`1\\.\\|-- ${HOP[family]} +0\\.0% +3 .*\n +2\\.\\|-- ${FAR[family]} +0\\.0% +3 `));
    t.match((await side.exec(`ping -n -c 1 -W 5 -t 1 ${FAR[family]}`, { allowFailure: true })).stdout, new RegExp(`${HOP[family]}:? .*(exceeded|Hop limit)`));
  }
  t.ok(host.stack.ip.counters.hopsExceeded > 10);
}));

t.test('nowhere to go: no route, and a neighbour that is not there (RFC 1812 §5.2.7.1, RFC 4443 §3.1)', { skip: lacking('ping') }, between(
  [{}, { interface: { nud: { retransTimerUs: 50e3 } } }],
  async (t, { sides: [side] }) => {
    for (const [address, said] of [
      ['198.19.0.1', /198.18.0.2 icmp_seq=1 Destination Net Unreachable/],
      ['198.18.1.99', /198.18.0.2 icmp_seq=1 Destination Host Unreachable/],
      ['fd00:9::1', /fd00::2 icmp_seq=1 Destination unreachable: No route/],
      ['fd00:1::99', /fd00::2 icmp_seq=1 Destination unreachable: Address unreachable/],
    ] as const) {
      t.match((await side.exec(`ping -n -c 1 -W 3 ${address}`, { allowFailure: true })).stdout, said);
    }
  },
));

t.test('a narrower link behind it: path MTU discovery (RFC 1191, RFC 8201), and fragments where they are allowed', { skip: lacking('ping') }, between(
  [{}, { tap: { mtu: 1280 }, interface: { nic: { mtu: 1280 } } }],
  async (t, peers) => {
    const { sides: [side, far], host } = peers;
    for (const family of [4, 6] as const) {
      const [address, ip] = [FAR[family], family === 4 ? 'ip' : 'ip -6'];
      const tooBig = await side.exec(`ping -n -c 1 -W 3 -M do -s 1400 ${address}`, { allowFailure: true });
      t.match(tooBig.stdout, family === 4 ? /Frag needed and DF set \(mtu = 1280\)/ : /Packet too big: mtu=1280/);
      t.match(await side.run(`${ip} route get ${address}`), /mtu 1280/, 'the kernel remembers');
      const fits = 1280 - (family === 4 ? 28 : 48);
      t.match(await side.run(`ping -n -c 2 -i 0.2 -W 3 -M do -s ${fits} ${address}`), /2 received/);
      t.match(await side.run(`ping -n -c 2 -i 0.2 -W 3 -s 5000 ${address}`), /2 received/, 'in fragments of the path\'s size');
      await side.run(`${ip} route flush cache`);
    }
    const before = host.stack.ip.counters.fragmentsSent;
    await side.run('ip route flush cache');
    t.match(await side.run(`ping -n -c 2 -i 0.2 -W 3 -M dont -s 1400 ${FAR[4]}`), /2 received/, 'RFC 1812 §5.2.6: without DF the router makes fragments');
    t.match(await side.run(`ping -n -c 2 -i 0.2 -W 3 -M dont -s 6000 ${FAR[4]}`), /2 received/, 'of fragments too');
    t.ok(host.stack.ip.counters.fragmentsSent - before > 10, 'they were ours');
    t.match(await far.run('ping -n -c 2 -i 0.2 -W 3 -s 3000 198.18.0.1'), /2 received/, 'answers in fragments that the router made smaller');
    t.match(await far.run('ping -n -c 3 -i 0.2 -W 3 -s 3000 fd00::1'), /[23] received/, 'the first answer may be what finds the MTU');
    const long = await peers.recorded(`frame.interface_name == "side1" && eth.src == ${HOST_MAC} && frame.len > 1294`, 'frame.len');
    t.same(long, [], 'no frame is longer than its link takes');
  },
));
