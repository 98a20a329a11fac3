import { type Clock } from '../base/index.js';
import { Data, writeName } from './codec.js';
import { type OverlayCounters } from './counters.js';
import { type Peer } from './peer.js';
import { type Peers } from './peers.js';
import { Arrival } from './replay-window.js';
import { type Stream } from './stream.js';
import { type Transport } from './transport.js';
import { type Trees } from './trees.js';

export interface DeliveryOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly peers: Peers;
  readonly trees: Trees;
  readonly counters: OverlayCounters;
  readonly unmeasuredUs: number;
}

/** The way of a stream's messages: from the publisher, or from the parent, to the subscriptions here and to the children. */
export class Delivery {
  constructor(private readonly options: DeliveryOptions) {}

  /** Sends a payload down a stream that this host publishes. */
  publish(stream: Stream, payload: Uint8Array): void {
    const { transport: { bytes } } = this.options;
    const length = Data.bytes + payload.length;
    const sequence = stream.sequence++;
    const write = (): number => {
      const at = this.begin(stream, length, sequence, 0);
      bytes.set(payload, at + Data.payload);
      return at + Data.payload;
    };
    write();
    this.sendToChildren(stream);
    for (const subscription of stream.subscriptions) {
      this.options.counters.delivered++;
      // Anew for each: who gets it may send, and that is written in the same place.
      subscription.deliver(write(), payload.length, 0, stream.publisher);
    }
  }

  onData(peer: Peer, at: number, length: number): void {
    const { transport: { bytes, view }, counters, trees, clock, unmeasuredUs } = this.options;
    const stream = trees.named(at);
    if (stream === undefined || view.getUint32(at + Data.version) !== stream.version || !this.isFrom(stream, peer, clock)) {
      counters.dropped.unwanted++;
      // What our parent sends of the publisher's earlier life was on its way.
      if (stream?.parent !== peer.host && stream?.candidate !== peer.host) trees.unwanted(peer, at);
      return;
    }
    const sequence = view.getUint32(at + Data.sequence);
    if (stream.window.accept(sequence) !== Arrival.new) {
      counters.dropped.duplicate++;
      return;
    }
    const ageUs = view.getUint32(at + Data.ageUs) + Math.round(peer.oneWayUs(unmeasuredUs));
    if (stream.children.length > 0) {
      const out = this.begin(stream, length, sequence, ageUs);
      bytes.copyWithin(out + Data.payload, at + Data.payload, at + length);
      this.sendToChildren(stream);
    }
    const { subscriptions, publisher } = stream;
    for (let i = 0; i < subscriptions.length; i++) {
      counters.delivered++;
      subscriptions[i].deliver(at + Data.payload, length - Data.bytes, ageUs, publisher);
    }
  }

  /** Whether the stream may come from there: the parent, the one that is about to be, or the one that was until now. */
  private isFrom(stream: Stream, { host }: Peer, clock: Clock): boolean {
    return host === stream.parent || host === stream.candidate || (host === stream.previous && clock.nowUs() < stream.previousUntilUs);
  }

  private begin(stream: Stream, length: number, sequence: number, ageUs: number): number {
    const { transport: { view }, peers } = this.options;
    const at = peers.begin(Data.type, length);
    writeName(view, at, stream);
    view.setUint32(at + Data.version, stream.version);
    view.setUint32(at + Data.sequence, sequence);
    view.setUint32(at + Data.ageUs, ageUs);
    return at;
  }

  /** What begin() began, to each child that wants another message now. */
  private sendToChildren({ children }: Stream): void {
    const { peers, counters } = this.options;
    for (let i = 0; i < children.length; i++) {
      const { bucket, peer } = children[i];
      if (bucket !== undefined && !bucket.take()) counters.thinned++;
      else {
        counters.dataSent++;
        peers.sendTo(peer);
      }
    }
  }
}
