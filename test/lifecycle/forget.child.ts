// Programs that close nothing, or fail in a handler; each says as one line of JSON what came of it. Run with --expose-gc.
import { setImmediate as turn } from 'node:timers/promises';
import { Attachment, Engine, Link, Nic, NicDriver, Recorder, Region } from '../../src/nic/index.js';
import { type Holdings, backTo, holdings, until } from './machine.js';
import { Busy, isReset } from './rig.js';
import { CALLER_MAC, Caller, ECHO_MAC, Echo, MODES } from './traffic.js';

const [, , what, path] = process.argv as [string, string, string, string];

async function collect(): Promise<void> {
  for (let i = 0; i < 5; i++) {
    globalThis.gc!();
    await turn();
  }
}

/** Collects until no more is held than before. */
async function collectedTo(before: Holdings): Promise<Holdings> {
  const collecting = setInterval(() => globalThis.gc!(), 20);
  await backTo(before).finally(() => {
    clearInterval(collecting);
  });
  return holdings();
}

/** Everything there is, in use, and closed by nobody. Returns one of each. */
async function everything(round: number): Promise<Record<string, object>> {
  const engine = new Engine();
  const first = new Nic(engine, { queuePairs: 2 });
  const second = new Nic(engine);
  const link = new Link(engine, first, second, round % 2 === 0 ? {} : { delayUs: 1000, queueFrames: 100_000 });
  const busy = new Busy(engine, 1000); // engines that wait to be collected should not be in each other's way
  const driver = new NicDriver(busy.nic);
  const recorder = new Recorder(engine, `${path}.pcapng`);
  recorder.add(first, 'first'); // which has little to record: this is no test of the disk
  first.share(`${path}.${round}`);
  const attachment = new Attachment(`${path}.${round}`);
  const attached = new NicDriver(attachment);
  const region = new Region(2 ** 20);
  second.map({ iova: 2 ** 32, region });
  for (const taking of [driver, attached]) {
    const pair = taking.pairs[0];
    const handle = taking.pool.get();
    pair.tx.sendOne(handle, taking.pool.offsetOf(handle), 100);
    taking.publish(pair);
  }
  await until('frames came', () => busy.nic.counters().queues[0].frames > 0);
  return { engine, first, second, link, busy, driver, recorder, attachment, attached, region };
}

async function collected(): Promise<unknown> {
  await everything(0);
  await collect();
  const before = await collectedTo({ files: 40, regions: 0, engines: 0 });
  for (let round = 0; round < 10; round++) await everything(round);
  return { before, after: await collectedTo(before) };
}

async function survivors(): Promise<unknown> {
  const before = holdings();
  const kept = await (async () => {
    const all = (await everything(0)) as unknown as { link: Link; attachment: Attachment; region: Region; driver: NicDriver };
    const { u8 } = all.region;
    u8.fill(7);
    return { u8, link: all.link, frames: all.driver.device.memory.u8, attached: all.attachment.memory.u8 };
  })();
  await collect();
  const wrong: string[] = [];
  // A link keeps its ends, and the engine that moves their frames.
  if (kept.link.counters().length !== 2 || holdings().engines !== before.engines + 1) wrong.push('link');
  const { u8, frames, attached } = kept;
  // Now the link may go too, and only memory is left.
  (kept as { link: Link | undefined }).link = undefined;
  await collectedTo({ ...before, regions: before.regions + 3, files: before.files + 3 });
  if (u8.some((byte) => byte !== 7)) wrong.push('read');
  for (const memory of [u8, frames, attached]) {
    memory.fill(9);
    if (memory.some((byte) => byte !== 9)) wrong.push('write');
  }
  return { wrong, left: holdings().regions - before.regions, engines: holdings().engines };
}

/** A wire nobody holds but by its ends, and a recorder nobody holds but by its NIC. */
async function unheld(): Promise<unknown> {
  const engine = new Engine();
  const mine = new Nic(engine, { mac: CALLER_MAC });
  const theirs = new Nic(engine, { mac: ECHO_MAC });
  new Link(engine, mine, theirs);
  new Recorder(engine, path).add(mine, 'mine');
  await collect();
  const caller = new Caller(mine);
  const echo = new Echo(theirs);
  for (const { driver } of [caller, echo]) driver.start('adaptive');
  await caller.call(1000);
  for (const { driver } of [caller, echo]) driver.close();
  return [caller.answered, echo.frames];
}

/** An exception of a handler, as often as it happens, goes to the process's own listener, and nowhere else. */
async function uncaught(): Promise<unknown> {
  const caught: string[] = [];
  process.on('uncaughtException', (error, origin) => caught.push(`${origin}: ${error.message}`));
  for (const mode of MODES) {
    const busy = new Busy(new Engine(), 1000);
    const echo = new Echo(busy.nic, () => {
      throw new Error(mode);
    });
    echo.driver.start(mode);
    const already = caught.length;
    await until('it was caught', () => caught.length > already);
    echo.driver.close();
    busy.close();
  }
  return [...new Set(caught)];
}

/** Ends with all in use and nothing closed. */
async function abandon(): Promise<unknown> {
  const all = await everything(1);
  const echo = new Echo(new Busy(new Engine(), 20_000).nic);
  echo.driver.start('interrupt');
  await until('frames came', () => echo.frames > 0);
  if (what === 'exit') process.on('exit', () => process.stdout.write('"exit"\n'));
  if (what === 'exit') process.exit(0);
  echo.driver.ref(false);
  return isReset(all['second'] as Nic);
}

const programs: Record<string, () => Promise<unknown>> = { collected, survivors, unheld, uncaught, leave: abandon, exit: abandon };
process.stdout.write(`${JSON.stringify(await programs[what]())}\n`);
