import { Graft, Grafted, MAX_ANCESTORS, Prune, Refused, Rejoin, UNKNOWN, writeName } from './codec.js';
import { type Peers } from './peers.js';
import { type HostShare } from './qos.js';
import { type Stream } from './stream.js';
import { type HostNumber, type Transport } from './transport.js';

/** Why a host takes no child: in a Refused message. */
export const REFUSAL = { rank: 1, loop: 2, capacity: 3, version: 4, offTree: 5, noPublisher: 6 } as const;

/** A flag in the first byte of a field of two, or of four. */
const FLAG_16 = 0x100;
const FLAG_32 = 0x1000000;

type StreamName = Pick<Stream, 'channel' | 'publisher'>;

/** Writes and sends what hosts of a tree say to each other. */
export class TreeMessages {
  private readonly view: DataView;

  constructor(private readonly options: { readonly transport: Transport; readonly peers: Peers; readonly share: HostShare }) {
    this.view = options.transport.view;
  }

  private begin(type: number, length: number, name: StreamName): number {
    const at = this.options.peers.begin(type, length);
    writeName(this.view, at, name);
    return at;
  }

  graft(stream: Stream, to: HostNumber, isProbe: boolean): void {
    const at = this.begin(Graft.type, Graft.bytes, stream);
    this.view.setUint32(at + Graft.version, stream.version);
    this.view.setUint32(at + Graft.root, stream.root);
    this.view.setUint16(at + Graft.rank, stream.rank);
    this.view.setUint16(at + Graft.isProbe, isProbe ? FLAG_16 : 0);
    this.view.setUint32(at + Graft.milliRate, stream.milliRate);
    this.view.setUint32(at + Graft.subscribers, stream.subscribers);
    this.view.setUint32(at + Graft.late, stream.late);
    this.view.setUint32(at + Graft.slackUs, Math.min(UNKNOWN, Math.floor(stream.slackUs)));
    this.options.peers.send(to);
  }

  grafted(stream: Stream, to: HostNumber, isProbe: boolean): void {
    const isOnTree = stream.isOnTree && Number.isFinite(stream.delayUs);
    const count = isOnTree ? Math.min(stream.ancestors.length, MAX_ANCESTORS) : 0;
    const at = this.begin(Grafted.type, Grafted.bytes + Grafted.item * count, stream);
    this.view.setUint32(at + Grafted.version, stream.version);
    this.view.setUint16(at + Grafted.rank, stream.rank);
    this.view.setUint8(at + Grafted.isOnTree, isOnTree ? 1 : 0);
    this.view.setUint8(at + Grafted.count, count);
    this.view.setUint32(at + Grafted.delayUs, isOnTree ? Math.round(stream.delayUs + this.options.share.responseUs(stream)) : 0);
    this.view.setUint32(at + Grafted.isProbe, isProbe ? FLAG_32 : 0);
    for (let i = 0; i < count; i++) this.view.setUint32(at + Grafted.ancestors + Grafted.item * i, stream.ancestors[i]);
    this.options.peers.send(to);
  }

  refused(name: StreamName & { version: number }, to: HostNumber, reason: number): void {
    const at = this.begin(Refused.type, Refused.bytes, name);
    this.view.setUint32(at + Refused.version, name.version);
    this.view.setUint32(at + Refused.reason, reason * FLAG_32);
    this.options.peers.send(to);
  }

  prune(name: StreamName, to: HostNumber): void {
    this.begin(Prune.type, Prune.bytes, name);
    this.options.peers.send(to);
  }

  rejoin(name: StreamName, to: HostNumber): void {
    this.begin(Rejoin.type, Rejoin.bytes, name);
    this.options.peers.send(to);
  }
}
