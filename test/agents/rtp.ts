// RTP packets (RFC 3550 §5.1), made and read independently of the agents' own reader.

export interface RtpFields {
  payloadType?: number;
  marker?: boolean;
  sequence?: number;
  timestamp?: number;
  ssrc?: number;
  csrcs?: readonly number[];
  /** Words of a header extension; none without. */
  extension?: readonly number[];
  payload?: Uint8Array;
  /** Octets of padding, the count included; 0: none. */
  padding?: number;
}

export function rtp(fields: RtpFields = {}): Uint8Array {
  const { payloadType = 96, marker = false, sequence = 0, timestamp = 0, ssrc = 0x01020304, csrcs = [], extension, payload = new Uint8Array(0), padding = 0 } = fields;
  const header = 12 + 4 * csrcs.length + (extension === undefined ? 0 : 4 + 4 * extension.length);
  const bytes = new Uint8Array(header + payload.length + padding);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0x80 | (padding > 0 ? 0x20 : 0) | (extension === undefined ? 0 : 0x10) | csrcs.length);
  view.setUint8(1, (marker ? 0x80 : 0) | payloadType);
  view.setUint16(2, sequence);
  view.setUint32(4, timestamp);
  view.setUint32(8, ssrc);
  csrcs.forEach((csrc, i) => view.setUint32(12 + 4 * i, csrc));
  if (extension !== undefined) {
    const at = 12 + 4 * csrcs.length;
    view.setUint16(at, 0xbede);
    view.setUint16(at + 2, extension.length);
    extension.forEach((word, i) => view.setUint32(at + 4 + 4 * i, word));
  }
  bytes.set(payload, header);
  if (padding > 0) bytes[bytes.length - 1] = padding;
  return bytes;
}

export function sequenceOf(packet: Uint8Array): number {
  return packet[2] * 256 + packet[3];
}

/** A sender report's first bytes: RTCP, not RTP (RFC 5761 §4). */
export const RTCP = Uint8Array.from([0x80, 200, 0, 1, 1, 2, 3, 4]);

/** What is no RTP: each breaks one rule of RFC 3550 §5.1 or §5.3.1. */
export const MALFORMED: readonly (readonly [why: string, bytes: Uint8Array])[] = [
  ['empty', new Uint8Array(0)],
  ['shorter than a header', rtp().slice(0, 11)],
  ['version 1', Uint8Array.from(rtp({ payload: new Uint8Array(8) }), (byte, i) => (i === 0 ? 0x40 : byte))],
  ['contributing sources beyond the end', Uint8Array.from(rtp({ payload: new Uint8Array(8) }), (byte, i) => (i === 0 ? 0x83 : byte))],
  ['extension header beyond the end', Uint8Array.from(rtp({ payload: new Uint8Array(2) }), (byte, i) => (i === 0 ? 0x90 : byte))],
  ['extension beyond the end', rtp({ extension: [1, 2, 3] }).slice(0, -1)],
  ['padding of 0', Uint8Array.from(rtp({ payload: new Uint8Array(8) }), (byte, i) => (i === 0 ? 0xa0 : byte))],
  ['padding into the header', Uint8Array.from(rtp({ payload: new Uint8Array(8), padding: 4 }), (byte, i) => (i === 23 ? 13 : byte))],
  ['padding without an octet', Uint8Array.from(rtp(), (byte, i) => (i === 0 ? 0xa0 : byte))],
];
