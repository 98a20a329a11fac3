// The owner's side: two cards on an engine with a wire between them, of which one waits for a peer.
import { Engine, Link, Nic, Replay } from '../../src/nic/index.js';
import { CALLER_MAC, ECHO_MAC, calls } from './traffic.js';

export class Rig {
  readonly engine = new Engine();
  readonly mine = new Nic(this.engine, { mac: CALLER_MAC });
  readonly theirs = new Nic(this.engine, { mac: ECHO_MAC });
  readonly link = new Link(this.engine, this.mine, this.theirs);

  close(): void {
    this.link.close();
    this.mine.close();
    this.theirs.close();
  }
}

/** A card that waits for a peer, on a wire that brings calls all the time. */
export class Busy {
  readonly nic: Nic;
  readonly replay: Replay;
  readonly link: Link;

  constructor(engine: Engine, framesPerSecond: number) {
    this.nic = new Nic(engine, { mac: ECHO_MAC });
    this.replay = new Replay(engine, { frames: calls(97) }, { timing: 'rate', framesPerSecond, limit: 1e12 });
    this.link = new Link(engine, this.replay, this.nic);
    this.replay.start();
  }

  /** Answers that came back. */
  get answered(): number {
    return this.replay.counters().returned;
  }

  close(): void {
    this.link.close();
    this.replay.close();
    this.nic.close();
  }
}

const STATUS = 0x70; // virtio 1.2 §4.2.2

/** Whether nobody drives it: as new, or as its last driver's end has left it. */
export function isReset(nic: Nic): boolean {
  return nic.native.read(STATUS) === 0;
}
