import { type Clock, type Random } from '../../base/index.js';
import { type Endpoint, Handover, Header, type HostNumber, type KnCube, LAYOUTS, NO_HOST, type Transport, writeHeader } from '../../overlay/index.js';

export interface AdversaryOptions {
  readonly host: HostNumber;
  readonly cube: KnCube;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  /** Numbers of hosts are below this. */
  readonly hosts: number;
  /** Messages that it sends in a second. */
  readonly ratePerS: number;
  /** The lease under which it says it is, at first; later the next, and so on: those of others from 1 on, or such as there are none. */
  readonly incarnation: number;
}

/** Messages of each type that it remembers. */
const REMEMBERED = 8;
const MAX_ITEMS = 8;
/** How often it goes on to the next incarnation. */
const INCARNATION_SHARE = 1 / 1000;

/**
 * A host that overhears what others say, and says the like: messages of every type, well-formed, with some fields changed for others that could be; under its own
 * number, or another's (which the transport gives away), under whatever lease. It has no way to the directory.
 */
export class Adversary implements Endpoint {
  dueUs: number;
  onEarlier: () => void;
  /** Messages sent: under its own number, and under others'. */
  readonly sent: { own: number; others: number };
  private readonly view: DataView;
  /** By type; the newest take the place of the oldest. */
  private readonly heard: Uint8Array[][];
  private heardCount: number;
  private sequence: number;
  private incarnation: number;

  constructor(private readonly options: AdversaryOptions) {
    const { transport, clock } = options;
    this.dueUs = clock.nowUs();
    this.onEarlier = () => undefined;
    this.sent = { own: 0, others: 0 };
    this.view = transport.view;
    this.heard = LAYOUTS.map(() => []);
    this.heardCount = 0;
    this.sequence = 1;
    this.incarnation = options.incarnation;
  }

  stop(): void {
    this.dueUs = Infinity;
  }

  receive(_from: HostNumber, at: number, length: number): void {
    this.overhear(at, length);
  }

  /** Somebody's message, to whomever. */
  overhear(at: number, length: number): void {
    const heard = this.heard.at(this.view.getUint8(at + Header.type) - 1);
    heard?.splice(this.heardCount++ % REMEMBERED, 1, this.options.transport.bytes.slice(at, at + length));
  }

  wake(): void {
    const { random, hosts, host, ratePerS, transport } = this.options;
    this.dueUs += 1e6 / ratePerS;
    const length = this.write(random.int(0, LAYOUTS.length - 1));
    let to = random.int(0, hosts - 2);
    if (to >= host) to++;
    transport.send(to, length);
  }

  /** Writes a message of a type; how long it is. */
  private write(index: number): number {
    const { random, cube, transport, host, hosts } = this.options;
    const { type, bytes, item = 0, count } = LAYOUTS[index];
    const model = this.heard[index].length > 0 ? this.heard[index][random.int(0, this.heard[index].length - 1)] : undefined;
    const length = model?.length ?? bytes + item * random.int(0, MAX_ITEMS);
    const at = transport.begin();
    transport.bytes.fill(0, at, at + length);
    if (model !== undefined) transport.bytes.set(model, at);
    const share = model === undefined ? 1 : random.float();
    for (let offset = Header.bytes; offset + 4 <= length; offset += 4) {
      if (random.bool(share)) this.view.setUint32(at + offset, this.word());
    }
    // How many items there are is told rightly: else it would be known by its form.
    if (type === Handover.type) this.view.setUint32(at + Handover.count, (length - bytes) / item);
    else if (count !== undefined) this.view.setUint8(at + count, (length - bytes) / item);
    const isOwn = random.bool(0.5);
    if (random.bool(INCARNATION_SHARE)) this.incarnation++;
    let from = host;
    if (isOwn) this.sent.own++;
    else {
      this.sent.others++;
      from = (host + random.int(1, hosts - 1)) % hosts;
    }
    writeHeader(this.view, at, type, length, cube, from, this.incarnation);
    this.view.setUint32(at + Header.sequence, this.sequence++);
    return length;
  }

  /** What a field could hold. */
  private word(): number {
    const { random, cube, hosts, host } = this.options;
    switch (random.int(0, 6)) {
      case 0: return host;
      case 1: return random.int(0, hosts - 1);
      case 2: return random.int(0, cube.size - 1);
      case 3: return random.int(0, 3);
      // Flags, counts and ranks lie in the upper bytes.
      case 4: return random.int(0, 3) * 0x1000000 + random.int(0, 3) * 0x10000;
      case 5: return random.uint32();
      default: return NO_HOST;
    }
  }
}
