import { type Address, RingcubeError } from '../base/index.js';
import { Engine, type FrameList, Link, Nic, NicDriver, Replay } from '../nic/index.js';
// Of the stack's own formats, to look into recorded frames.
import { ETHERNET_BYTES, EtherType, formatMac, isGroupMac, readMac } from '../stack/wire/ethernet.js';
import { Protocol, parseIpv4 } from '../stack/wire/ipv4.js';
import { findUpper, parseIpv6 } from '../stack/wire/ipv6.js';

/** What a capture has for one UDP port of one station. */
export interface CapturedStream {
  address: Address;
  mac: string;
  /** With those that may be fragments of a datagram to the port. */
  frames: FrameList;
  /** In the whole capture, and of these cut short by a snap length and so left out. */
  inFile: number;
  cut: number;
}

interface Destination {
  address: Address;
  /** undefined in a fragment that has no UDP header. */
  port: number | undefined;
}

/** Whom a frame is for, if it is UDP to one station, or may be a part of it. */
function destinationOf(frame: Uint8Array): Destination | undefined {
  if (frame.length < ETHERNET_BYTES || isGroupMac(readMac(frame, 0))) return undefined;
  const type = (frame[12] << 8) | frame[13];
  const packet = frame.subarray(ETHERNET_BYTES);
  const portAt = (at: number): number => (packet[at + 2] << 8) | packet[at + 3];
  if (type === EtherType.Ipv4) {
    const ip = parseIpv4(packet);
    if (typeof ip === 'string' || ip.protocol !== Protocol.Udp) return undefined;
    return { address: ip.destination, port: ip.fragmentOffset > 0 ? undefined : portAt((packet[0] & 15) * 4) };
  }
  if (type !== EtherType.Ipv6) return undefined;
  const ip = parseIpv6(packet);
  if (typeof ip === 'string') return undefined;
  const upper = findUpper(packet);
  if (upper === undefined) return { address: ip.destination, port: undefined };
  return upper.protocol === Protocol.Udp ? { address: ip.destination, port: portAt(upper.at) } : undefined;
}

/**
 * Reads a capture, which is all played to a card that takes every frame: the first station with a datagram to the port is whose stream it is.
 *
 * @throws ERR_INVALID_ARGUMENT if it can't be read, is no pcapng file, or has no such datagram
 */
export function readCapture(path: string, port: number, mtu: number): CapturedStream {
  const engine = new Engine({ stepped: true });
  const nic = new Nic(engine, { mtu });
  const frames: Uint8Array[] = [];
  const timesUs: number[] = [];
  let address: Address | undefined;
  let mac = '';
  const look = (frame: Uint8Array): void => {
    const destination = destinationOf(frame);
    if (destination === undefined) return;
    if (address === undefined && destination.port === port) {
      address = destination.address;
      mac = formatMac(readMac(frame, 0));
    }
    if (address?.equals(destination.address) !== true || (destination.port ?? port) !== port) return;
    frames.push(frame.slice());
    timesUs.push(engine.nowUs());
  };
  const driver: NicDriver = new NicDriver(nic, {
    promiscuous: true,
    handler: {
      frames: (batch) => {
        for (let i = 0; i < batch.count; i++) {
          look(nic.memory.u8.subarray(batch.offset[i], batch.offset[i] + batch.length[i]));
          driver.put(batch.handle[i]);
        }
      },
    },
  });
  let replay: Replay | undefined;
  let link: Link | undefined;
  try {
    replay = new Replay(engine, path);
    link = new Link(engine, replay, nic, { pause: true });
    replay.start();
    for (let nextUs = engine.nowUs(); nextUs < Infinity; nextUs = engine.step()) {
      engine.step(nextUs);
      while (driver.poll() > 0) engine.step();
    }
    const { frames: inFile, cut } = replay.counters();
    if (address === undefined) throw new RingcubeError('ERR_INVALID_ARGUMENT', `${path}: no UDP datagram to port ${port} of one station is in it`);
    return { address, mac, frames: { frames, timesUs }, inFile, cut };
  } catch (error) {
    throw error instanceof RingcubeError ? new RingcubeError('ERR_INVALID_ARGUMENT', error.message) : error;
  } finally {
    link?.close();
    replay?.close();
    driver.close();
    nic.close();
  }
}
