// Ping, ARP and neighbour discovery against the Linux kernel and its tools.
import { Address } from '../../src/base/index.js';
import t from 'tap';
import { HOST_MAC, KERNEL_MAC, beside, lacking, until } from './peers.js';

// They mostly wait, for probes that take seconds by their RFCs.
t.jobs = 2;

/** What `ping` says of its packets at its end. */
function counted(said: string): { sent: number; received: number; errors: boolean } {
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(said) ?? [];
  return { sent: Number(sent), received: Number(received), errors: /errors|wrong data|DUP!|duplicates/.test(said) };
}

t.test('ping: every size comes back as it was (RFC 1122 §3.2.2.6, RFC 4443 §4.2), whole or in fragments', { skip: lacking('ping') }, beside({}, async (t, { host, side }) => {
  const sizes4 = ['0', '1', '56', '1472 -M do', '1473', '8000', '65507'];
  const sizes6 = ['0', '1', '56', '1452 -M do', '1453', '8000', '65500'];
  for (const [address, sizes] of [['198.18.0.2', sizes4], ['fd00::2', sizes6]] as const) {
    for (const size of sizes) {
      const { stdout } = await side.exec(`ping -n -c 2 -i 0.2 -W 5 -s ${size} ${address}`, { allowFailure: true });
      t.same(counted(stdout), { sent: 2, received: 2, errors: false }, `${address}, ${size} bytes`);
    }
  }
  const refused = await side.exec('ping -n -c 1 -W 1 -M do -s 1473 198.18.0.2', { allowFailure: true });
  t.not(refused.status, 0, 'one byte more than a frame holds can be sent in fragments only');
  const { reassembled, overlaps, timedOut } = host.stack.ip.reassembly.counters;
  t.same({ reassembled, overlaps, timedOut }, { reassembled: 12, overlaps: 0, timedOut: 0 });
}));

t.test('frames of 9,000 bytes, where both ends take them', { skip: lacking('ping') }, beside(
  { sides: [{ tap: { mtu: 9000 }, interface: { nic: { mtu: 9000, regionBytes: 2 ** 24 } } }] },
  async (t, peers) => {
    for (const [address, size] of [['198.18.0.2', 8972], ['fd00::2', 8952]] as const) {
      t.same(counted(await peers.side.run(`ping -n -c 3 -i 0.2 -W 5 -M do -s ${size} ${address}`)), { sent: 3, received: 3, errors: false });
      t.same(counted(await peers.side.run(`ping -n -c 3 -i 0.2 -W 5 -s 40000 ${address}`)), { sent: 3, received: 3, errors: false });
    }
    t.ok((await peers.recorded(`eth.src == ${HOST_MAC} && frame.len == 9014`, 'frame.number')).length >= 6);
  },
));

t.test('ping -f for a second: all are answered, and the kernel gets every answer', { skip: lacking('ping', 'nstat') }, beside({}, async (t, { side, host }) => {
  // What ping itself counts depends on how soon it ends; the kernel's own counters do not.
  const counts = { '198.18.0.2': 'IcmpInEchoReps', 'fd00::2': 'Icmp6InEchoReplies' };
  let total = 0;
  for (const [address, count] of Object.entries(counts)) {
    const { sent, received } = counted((await side.exec(`ping -f -q -w 1 ${address}`, { allowFailure: true })).stdout);
    t.ok(sent > 500, `${address}: ${sent} sent`);
    t.ok(received > 0.9 * sent, `${received} received in time`);
    total += sent;
    await until('all were heard', () => host.stack.icmp.counters.echoes >= total);
    t.match(await side.shows(`nstat -asz ${count}`, new RegExp(`${count} +${sent} `)), new RegExp(`${count} +${sent} `), 'each has its answer');
  }
  t.equal(host.stack.icmp.counters.echoes, total);
}));

t.test('a link-local address is found by its duplicate address detection, and answers on its link', { skip: lacking('ping') }, beside(
  { sides: [{ interface: { dadTransmits: 1 } }] },
  async (t, { side, host }) => {
    t.same((await host.ready()).map(String).sort(), ['198.18.0.2', 'fd00::2', 'fe80::ff:fe00:a'], 'RFC 4291 appendix A');
    const { stdout } = await side.exec('ping -n -c 3 -i 0.2 -W 5 fe80::ff:fe00:a%tap0', { allowFailure: true });
    t.same(counted(stdout), { sent: 3, received: 3, errors: false });
  },
));

t.test('the kernel is pinged by us', { skip: lacking() }, beside({}, async (t, { host }) => {
  const came: string[] = [];
  host.stack.icmp.onEchoReply = (source, identifier, sequence, body) => came.push(`${source.toString()} ${identifier} ${sequence} ${body.length}`);
  const wanted: string[] = [];
  for (const address of ['198.18.0.1', 'fd00::1']) {
    for (const [sequence, bytes] of [0, 1, 1400, 1500, 9000, 65000].entries()) {
      t.ok(host.stack.icmp.ping(Address.parse(address), 7, sequence, new Uint8Array(bytes).fill(sequence)));
      wanted.push(`${address} 7 ${sequence} ${bytes}`);
      await until(`${wanted.at(-1)} is answered`, () => came.length === wanted.length);
    }
  }
  t.same(came, wanted);
}));

t.test('arping, and the kernel\'s own unreachability detection, find us again and again', { skip: lacking('arping', 'ping') }, beside({}, async (t, peers) => {
  const { side, host } = peers;
  const who = await side.run('arping -c 3 -w 5 -I tap0 198.18.0.2');
  t.match(who, /Received 3 response/);
  t.match(who.toLowerCase(), new RegExp(`from 198.18.0.2 \\[${HOST_MAC}\\]`));
  const taken = await side.exec('arping -D -c 2 -w 3 -I tap0 198.18.0.2', { allowFailure: true });
  t.equal(taken.status, 1, 'RFC 5227 §2.1.1: a probe is answered by who has the address');
  t.match(taken.stdout, /Received [1-9]/);
  const free = await side.exec('arping -D -c 1 -w 1 -I tap0 198.18.0.99', { allowFailure: true });
  t.equal(free.status, 0, 'and by nobody for an address that nobody has');

  // So that a few seconds see what takes a minute by default (RFC 4861 §10).
  for (const family of ['ipv4', 'ipv6']) {
    await side.sysctl(`${family}/neigh/tap0/base_reachable_time_ms`, 200);
    await side.sysctl(`${family}/neigh/tap0/delay_first_probe_time`, 0);
    await side.sysctl(`${family}/neigh/tap0/retrans_time_ms`, 200);
  }
  for (const address of ['198.18.0.2', 'fd00::2']) {
    await side.run(`ping -n -c 1 -W 5 ${address}`);
    for (let round = 0; round < 3; round++) {
      t.match(await side.shows(`ip neigh show ${address}`, /STALE/), /STALE/, `${address}: no news for a while`);
      await side.run(`ping -n -c 1 -W 5 ${address}`);
      t.match(await side.shows(`ip neigh show ${address}`, /REACHABLE/), new RegExp(`lladdr ${HOST_MAC} .*REACHABLE`), 'a probe was answered');
    }
  }
  const probes = await peers.recorded(`eth.src == ${KERNEL_MAC} && eth.dst == ${HOST_MAC} && (arp.opcode == 1 || icmpv6.type == 135)`, 'eth.type');
  t.ok(probes.filter((type) => type === '0x0806').length >= 3, `${probes.length} unicast probes`);
  t.ok(probes.filter((type) => type === '0x86dd').length >= 3);
  t.equal(host.stack.arp.counters.conflicts, 0);
}));

t.test('our own probes find the kernel reachable (RFC 4861 §7.3.3)', { skip: lacking() }, beside(
  { sides: [{ interface: { nud: { reachableTimeUs: 0.2e6, delayFirstProbeUs: 0.1e6, retransTimerUs: 0.2e6 } } }] },
  async (t, { host }) => {
    const [iface] = host.interfaces;
    for (const text of ['198.18.0.1', 'fd00::1']) {
      const address = Address.parse(text);
      const state = () => iface.neighbours.find(address)?.state;
      const ping = () => host.stack.icmp.ping(address, 1, 1, new Uint8Array(8));
      ping();
      await until(`${text} is found`, () => state() === 'reachable');
      await until(`${text} is stale`, () => state() === 'stale');
      ping();
      t.equal(state(), 'delay');
      await until(`${text} is probed and answers`, () => state() === 'reachable');
    }
    t.equal(iface.neighbours.counters.failed, 0);
  },
));

t.test('an address that the kernel has is not taken (RFC 5227 §2.1.1, RFC 4862 §5.4); one that is free is', { skip: lacking() }, (t) => {
  const conflicts: string[] = [];
  return beside(
    {
      host: { onConflict: (_, address) => conflicts.push(address.toString()) },
      sides: [{ interface: { probe: true, dadTransmits: 1, addresses: ['198.18.0.1/24', '198.18.0.2/24', 'fd00::1/64', 'fd00::2/64'] } }],
    },
    async (t, peers) => {
      const { host, side } = peers;
      t.same((await host.ready()).map(String).sort(), ['198.18.0.2', 'fd00::2', 'fe80::ff:fe00:a']);
      const states = Object.fromEntries(host.interfaces[0].addresses.map(({ address, state }) => [address.toString(), state]));
      t.same(states, { '198.18.0.1': 'duplicate', '198.18.0.2': 'preferred', 'fd00::1': 'duplicate', 'fd00::2': 'preferred', 'fe80::ff:fe00:a': 'preferred' });
      t.equal((await side.exec('ping -n -c 1 -W 5 198.18.0.2')).status, 0);

      // The other way round: the kernel looks for ours, and takes one without looking.
      await side.sysctl('ipv6/conf/tap0/accept_dad', 1);
      await side.run('ip addr add fd00::2/64 dev tap0');
      t.match(await side.shows('ip -6 addr show dev tap0 to fd00::2', /dadfailed/), /dadfailed/, 'RFC 4862 §5.4.3: we defend ours');
      await side.exec('arping -U -c 1 -s 198.18.0.1 -I tap0 198.18.0.2', { allowFailure: true });
      t.same(conflicts, [], 'who speaks of our address is not who claims it');
      await side.run('ip addr add 198.18.0.2/32 dev tap0');
      await side.exec('arping -U -c 1 -w 2 -I tap0 -s 198.18.0.2 198.18.0.2', { allowFailure: true });
      await until('a conflict is seen', () => conflicts.length > 0);
      t.same(conflicts, ['198.18.0.2'], 'RFC 5227 §2.4 c');
      const defence = await peers.recorded(`eth.src == ${HOST_MAC} && arp.src.proto_ipv4 == 198.18.0.2 && arp.dst.proto_ipv4 == 198.18.0.2`, 'frame.number');
      t.ok(defence.length >= 2, 'announced when it was taken into use (§2.3), and again against who took it');
    },
  )(t);
});

t.test('ndisc6 and rdisc6: solicitations of neighbours and routers are answered', { skip: lacking('ndisc6', 'rdisc6', 'ping') }, beside(
  {
    host: { forwarding: true },
    sides: [{ interface: { addresses: ['198.18.0.2/24', 'fd00::2/64', 'fd00:5::2/64'], advertise: { prefixes: ['fd00:5::/64'], mtu: 1400, lifetimeS: 900 } }, sysctls: { 'ipv6/conf/default/accept_ra': 2 } }],
  },
  async (t, { side, host }) => {
    t.match((await side.run('ndisc6 -1 -n fd00::2 tap0')).toLowerCase(), new RegExp(`target link-layer address: ${HOST_MAC}`));
    t.match((await side.run('ndisc6 -1 -n fe80::ff:fe00:a tap0')).toLowerCase(), new RegExp(`target link-layer address: ${HOST_MAC}`));
    t.not((await side.exec('ndisc6 -1 -n -r 1 -w 300 fd00::77 tap0', { allowFailure: true })).status, 0, 'nobody has this one');

    const said = await side.run('rdisc6 -1 -n tap0');
    for (const pattern of [/Router lifetime\s+:\s+900 /, /Prefix\s+:\s+fd00:5::\/64/, /On-link\s+:\s+Yes/, /Autonomous address conf\.\s*:\s+Yes/, /MTU\s+:\s+1400 bytes/, /from fe80::ff:fe00:a/]) t.match(said, pattern);
    t.match(said.toLowerCase(), new RegExp(`source link-layer address: ${HOST_MAC}`));

    // RFC 4862 §5.5.3 by the kernel: an address under the prefix, a default route by us, and the link's MTU.
    t.match(await side.shows('ip -6 addr show dev tap0', /fd00:5:.*dynamic/), /inet6 fd00:5::ff:fe00:b\/64 scope global dynamic/);
    t.match(await side.run('ip -6 route show default'), /via fe80::ff:fe00:a .*proto ra/);
    t.match(await side.run('cat /proc/sys/net/ipv6/conf/tap0/mtu'), /^1400$/);
    t.equal((await side.exec('ping -n -c 1 -W 5 -I fd00:5::ff:fe00:b fd00:5::2')).status, 0, 'and it is used');
    t.ok(host.stack.nd.counters.routerAdvertisementsSent >= 1);
  },
));

t.test('radvd: our host makes an address, and goes by the router (RFC 4862 §5.5, RFC 4861 §6.3.4)', { skip: lacking('radvd', 'ping') }, beside(
  { sides: [{ interface: { addresses: ['198.18.0.2/24'], dadTransmits: 1 }, sysctls: { 'ipv6/conf/all/forwarding': 1 } }] },
  async (t, { side, host }) => {
    await side.run('ip addr add fd00:99::1/128 dev lo');
    const config = 'interface tap0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvCurHopLimit 33; prefix fd00:7::/64 { AdvValidLifetime 100; AdvPreferredLifetime 50; }; };';
    const { stdout: file } = await side.namespace.exec('sh', ['-c', 'f=$(mktemp) && cat > $f && echo $f'], { input: config });
    side.namespace.spawn('radvd', ['-C', file.trim(), '-n', '-m', 'stderr', '-u', 'root', '-p', `${file.trim()}.pid`], { stdio: 'ignore' });
    const own = () => host.interfaces[0].addresses.filter(({ state }) => state === 'preferred').map(({ address }) => address.toString());
    await until('an address was made', () => own().includes('fd00:7::ff:fe00:a'));
    t.equal(host.stack.nd.hopLimit, 33);
    await side.run('ip addr add fd00:7::1/64 dev tap0 nodad');
    t.equal((await side.exec('ping -n -c 1 -W 5 fd00:7::ff:fe00:a')).status, 0);
    let answered = false;
    host.stack.icmp.onEchoReply = (source) => (answered = source.toString() === 'fd00:99::1');
    t.ok(host.stack.icmp.ping(Address.parse('fd00:99::1'), 1, 1, new Uint8Array(8)), 'there is a route to elsewhere now');
    await until('it is answered', () => answered);
    await side.namespace.exec('rm', ['-f', file.trim(), `${file.trim()}.pid`]);
  },
));
