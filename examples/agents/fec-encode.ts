// Forward error correction, the sender's side: after every `group` packets of an RTP stream, one parity packet (RFC 5109; the exact form
// is in parts/parity.ts) from which fec-decode.ts recovers any one of them.
//
//     {"group": 8, "payloadType": 127}
//
// group: 1 to 16 packets (default 8). payloadType: the parity packets' (default 127). They go out in the media's flow, right behind the group,
// with its SSRC and sequence numbers of their own (RFC 5109 §7.2), from 0 on: let fec-decode take them out before a receiver counts. A group ends
// early where sequence numbers jump, and at the second tick without a packet. Media packets go through as they are; those over 2,048 bytes, or
// too long for an emit buffer with 14 bytes more, are not protected. What is no RTP is dropped; RTCP goes through. Eight streams at once, told apart by sender and SSRC; of
// more, the one silent for longest is forgotten.
import { Config, DROP, beginRestore, beginSave, bufferBytes, emit, emitBuffer, endRestore, endSave, forward, load16, load32, putBytes, store16, store32, takeBytes } from 'ringcube/sdk';
import { ahead, isRtcp, parseRtp, sequence, setSequence, setSsrc, setTimestamp, ssrc, timestamp } from 'ringcube/sdk/rtp';
import { MASK, MASK_BITS, MAX_PACKET_BYTES, MAX_PARITY_BYTES, PARITY, PROTECTION_LENGTH, RTP_BYTES, SN_BASE, FLAGS, fold, maskBit } from './parts/parity';
import { Streams } from './parts/streams';
export { ringcube_abi } from 'ringcube/sdk';

const STATE_VERSION = 1;
const MAX_STREAMS = 8;

// A stream: packets in its group so far, ticks since the last of them, its next parity packet.
const PACKETS: usize = 0;
const TICKS: usize = 4;
const IMAGE: usize = 8;
const STREAM_BYTES: i32 = 8 + ((MAX_PARITY_BYTES + 7) & ~7);

const streams = new Streams(MAX_STREAMS);
const table = memory.data(MAX_STREAMS * STREAM_BYTES, 8);

let group = 8;
let parityType = 127;

export function init(ptr: usize, length: i32): i32 {
  const config = new Config(ptr, length);
  group = config.integer('group', 8, 1, MASK_BITS);
  parityType = config.integer('payloadType', 127, 0, 127);
  return config.done();
}

/** Sends a group's parity, if there is anything to protect and room to send it, and begins the next group. */
function finish(stream: usize): void {
  if (load<i32>(stream, PACKETS) == 0) return;
  const image = stream + IMAGE;
  const protectedBytes = load16(image + PROTECTION_LENGTH);
  const to = emitBuffer();
  // A state may come from a host with longer buffers.
  if (to != 0 && <i32>PARITY + protectedBytes <= bufferBytes()) {
    // Where the packets' version was, E and L stand, which are zero.
    store<u8>(image, load<u8>(image, FLAGS) & 0x3f, FLAGS);
    memory.copy(to, image, <i32>PARITY + protectedBytes);
    emit(<i32>PARITY + protectedBytes);
    setSequence(image, sequence(image) + 1);
  }
  store<i32>(stream, 0, PACKETS);
  memory.fill(image + FLAGS, 0, MAX_PARITY_BYTES - RTP_BYTES);
}

/** Makes room in the mask for a sequence number before SN base; false if those behind don't all fit any more. */
function rebase(image: usize, back: i32): bool {
  const mask = load16(image + MASK);
  if (back >= MASK_BITS || (mask & ((1 << back) - 1)) != 0) return false;
  store16(image + MASK, mask >> back);
  store16(image + SN_BASE, load16(image + SN_BASE) - back);
  return true;
}

function protect(stream: usize, packet: usize, length: i32): void {
  const image = stream + IMAGE;
  const seq = sequence(packet);
  if (load<i32>(stream, PACKETS) > 0) {
    const lead = ahead(seq, load16(image + SN_BASE));
    if (lead >= MASK_BITS || (lead < 0 && !rebase(image, -lead))) finish(stream);
  }
  if (load<i32>(stream, PACKETS) == 0) store16(image + SN_BASE, seq);
  const bit = maskBit(ahead(seq, load16(image + SN_BASE)));
  const mask = load16(image + MASK);
  // Twice would take it out again.
  if ((mask & bit) != 0) return;
  store16(image + MASK, mask | bit);
  fold(image, packet, length);
  if (length - RTP_BYTES > load16(image + PROTECTION_LENGTH)) store16(image + PROTECTION_LENGTH, length - RTP_BYTES);
  setTimestamp(image, timestamp(packet));
  const packets = load<i32>(stream, PACKETS) + 1;
  store<i32>(stream, packets, PACKETS);
  store<i32>(stream, 0, TICKS);
  if (packets == group) finish(stream);
}

export function process(ptr: usize, length: i32, sender: i32): i32 {
  if (isRtcp(ptr, length)) return forward(length);
  if (!parseRtp(ptr, length)) return DROP;
  let index = streams.find(sender, ssrc(ptr));
  const isNew = index < 0;
  if (isNew) index = streams.claim(sender, ssrc(ptr));
  const stream = table + index * STREAM_BYTES;
  if (isNew) {
    memory.fill(stream, 0, STREAM_BYTES);
    store16(stream + IMAGE, 0x8000 | parityType);
    setSsrc(stream + IMAGE, ssrc(ptr));
  }
  if (length <= MAX_PACKET_BYTES && length - RTP_BYTES + <i32>PARITY <= bufferBytes()) protect(stream, ptr, length);
  return forward(length);
}

export function tick(): void {
  for (let i = 0; i < MAX_STREAMS; i++) {
    const stream = table + i * STREAM_BYTES;
    const ticks = load<i32>(stream, TICKS) + 1;
    store<i32>(stream, ticks, TICKS);
    if (ticks >= 2) finish(stream);
  }
}

export function save(ptr: usize, capacity: i32): i32 {
  beginSave(ptr, capacity, STATE_VERSION);
  streams.put();
  putBytes(table, MAX_STREAMS * STREAM_BYTES);
  return endSave();
}

export function restore(ptr: usize, length: i32): i32 {
  beginRestore(ptr, length, STATE_VERSION);
  streams.take();
  takeBytes(table, MAX_STREAMS * STREAM_BYTES);
  for (let i = 0; i < MAX_STREAMS; i++) {
    if (load16(table + i * STREAM_BYTES + IMAGE + PROTECTION_LENGTH) > MAX_PACKET_BYTES - RTP_BYTES) return 1;
  }
  return endRestore();
}
