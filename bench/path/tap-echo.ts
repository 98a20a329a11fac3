// UDP echo beside the kernel: a user-level host on a TAP, lwIP on the same TAP, the kernel over veth. Each in network namespaces
// made for it, so it takes root; where that or lwIP lacks, the figure says so.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Host } from '../../src/host/index.js';
import { Engine, Link, Tap } from '../../src/nic/index.js';
import { type Figure, type Result, type Target } from '../../src/report/index.js';
import { NetworkNamespace } from '../../src/testing/index.js';
import { type BenchContext, type Measurement, alternate, pick, ratioTarget, ratioText } from '../context.js';

const KERNEL = '198.18.0.1';
const OTHER = '198.18.0.2';
const PORT = 7;
const PAYLOAD_BYTES = 22;
const BATCH = 16;
const WINDOW = 64;
const TAP = 'rcbench0';
const OURS = 'user-level host on a TAP';
const LWIP = 'lwIP on the same TAP';
const VETH = 'kernel to kernel over veth';
const CLIENT = fileURLToPath(new URL('./udp-client.child.js', import.meta.url));
const SERVER = fileURLToPath(new URL('./udp-server.child.js', import.meta.url));
const LWIP_SOURCE = fileURLToPath(new URL('../../../native/bench/lwip_echo.c', import.meta.url));

/** Echoes a second that a client in C within `namespace` gets. */
async function clientRate(namespace: NetworkNamespace, port: number, ms: number): Promise<number> {
  const { stdout } = await namespace.exec(process.execPath, [CLIENT, OTHER, String(port), String(PAYLOAD_BYTES), String(BATCH), String(WINDOW), String(ms)]);
  return Number(stdout);
}

async function addAddress(namespace: NetworkNamespace, device: string, address: string): Promise<void> {
  await namespace.exec('ip', ['addr', 'add', `${address}/24`, 'dev', device]);
  await namespace.exec('ip', ['link', 'set', device, 'up']);
}

async function ours(namespace: NetworkNamespace, ms: number): Promise<number> {
  const engine = new Engine();
  const tap = new Tap(engine, { name: TAP, namespace: namespace.path });
  const host = new Host(engine, { interfaces: [{ addresses: [`${OTHER}/24`], ipv6: false }] });
  const link = new Link(engine, host.nics[0], tap);
  try {
    await addAddress(namespace, TAP, KERNEL);
    host.start();
    host.openUdp({
      port: PORT,
      onDatagrams: (batch, socket) => {
        for (let i = batch.from; i < batch.to; i++) socket.reply(batch, i);
      },
    });
    return await clientRate(namespace, PORT, ms);
  } finally {
    link.close();
    host.stop();
    tap.close();
  }
}

async function lwip(namespace: NetworkNamespace, program: string, ms: number): Promise<number> {
  await namespace.exec('ip', ['tuntap', 'add', 'dev', TAP, 'mode', 'tap']);
  const server = namespace.spawn(program, [OTHER, String(PORT)], { env: { ...process.env, PRECONFIGURED_TAPIF: TAP }, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await addAddress(namespace, TAP, KERNEL);
    await Promise.race([once(server.stdout!, 'data'), sleep(2000)]);
    return await clientRate(namespace, PORT, ms);
  } finally {
    server.kill('SIGKILL');
    await once(server, 'exit');
    await namespace.exec('ip', ['link', 'delete', TAP], { allowFailure: true });
  }
}

async function veth(namespace: NetworkNamespace, ms: number): Promise<number> {
  const other = await NetworkNamespace.create();
  try {
    await namespace.exec('ip', ['link', 'add', 'rcbench1', 'type', 'veth', 'peer', 'name', 'rcbench2', 'netns', other.name]);
    await addAddress(namespace, 'rcbench1', KERNEL);
    await addAddress(other, 'rcbench2', OTHER);
    const server = other.spawn(process.execPath, [SERVER, String(PAYLOAD_BYTES), String(BATCH)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const [port] = (await once(server.stdout!, 'data')) as [Buffer];
    return await clientRate(namespace, Number(port.toString()), ms);
  } finally {
    await other.close();
  }
}

/** The echo server on lwIP, compiled; or why there is none. */
function compileLwip(folder: string): { program: string } | { lacks: string } {
  const program = join(folder, 'lwip_echo');
  try {
    execFileSync('cc', ['-O2', '-I/usr/include/lwip', '-o', program, LWIP_SOURCE, '-llwip', '-lpthread'], { stdio: 'ignore' });
    return { program };
  } catch {
    return { lacks: 'lwIP can not be compiled against (Debian: liblwip-dev)' };
  }
}

export async function tapEchoes(bench: string, context: BenchContext, ms: number, rounds: number): Promise<{ results: Result[]; figures: Figure[]; targets: Target[] }> {
  const what = 'UDP echo over a TAP / lwIP on the same TAP';
  const notMeasured = (reason: string): Target => ({ what, target: '≥ 1', reached: 'not measured', spread: reason, met: null });
  const unavailable = NetworkNamespace.unavailable();
  if (unavailable !== undefined) return { results: [], figures: [], targets: [notMeasured(unavailable.split(';')[0])] };
  const folder = mkdtempSync(join(tmpdir(), 'ringcube-'));
  const namespace = await NetworkNamespace.create();
  try {
    const built = compileLwip(folder);
    const of = (variant: string, measure: () => Promise<number>): Measurement => ({
      bench, variant, params: { path: 'echo beside the kernel' }, metric: 'echoes', unit: 'datagrams/s', measure,
    });
    const group = [of(OURS, () => ours(namespace, ms)), of(VETH, () => veth(namespace, ms))];
    if ('program' in built) group.push(of(LWIP, () => lwip(namespace, built.program, ms)));
    const results = await alternate([group], rounds, context);
    const at = (variant: string): Result => pick(results, variant);
    const compared = 'program' in built ? `${ratioText(at(OURS), at(LWIP))} times lwIP's` : 'lwIP was not there to compare with';
    return {
      results,
      figures: [
        {
          id: 'udp-tap',
          title: 'UDP echo beside the kernel',
          paragraph:
            `Echoes a second of ${PAYLOAD_BYTES} bytes that a client in C on kernel sockets gets, ${WINDOW} on their way: from a user-level host behind a TAP, from lwIP behind the same TAP, and from recvmmsg/sendmmsg in C ` +
            `over a veth pair. The user-level host's rate is ${compared}, and ${ratioText(at(OURS), at(VETH))} of the kernel's own over veth. Each frame to or from a TAP costs a system call, whoever is behind it.`,
          kind: 'bar',
          x: { param: 'variant', label: '' },
          y: { metric: 'echoes', label: 'echoes', unit: 'datagrams/s' },
          results,
        },
      ],
      targets: ['program' in built ? ratioTarget(what, at(OURS), at(LWIP), 1) : notMeasured(built.lacks)],
    };
  } finally {
    await namespace.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
