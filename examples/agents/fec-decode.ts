// Forward error correction, the receiver's side: takes the parity packets of fec-encode.ts (RFC 5109; the exact form is in
// parts/parity.ts) out of the flow, and puts a packet that was lost back in as soon as all others of its group, and its parity, are there.
//
//     {"payloadType": 127}
//
// payloadType: the parity packets' (default 127). Media packets go through as they come; a duplicate, also of a packet already recovered, is
// dropped, and so is what is no RTP; RTCP goes through. Order doesn't matter within the last 64 sequence numbers, and the last 4 parity
// packets that wait for media. Media packets over 2,048 bytes go through without help. Eight streams at once, told apart by sender and SSRC; of more, the one silent for
// longest is forgotten. There is no state to save: an agent that starts anew can't recover what was lost before, and that is all.
import { Config, DROP, bufferBytes, emit, emitBuffer, forward, load16, load32, store16, store32 } from 'ringcube/sdk';
import { ahead, headerBytes, isRtcp, parseRtp, payloadBytes, payloadType, sequence, setSsrc, ssrc, timestamp } from 'ringcube/sdk/rtp';
import { FLAGS, LENGTH_RECOVERY, MASK, MASK_BITS, MAX_PACKET_BYTES, MAX_PARITY_BYTES, PARITY, PROTECTION_LENGTH, RTP_BYTES, SN_BASE, TS_RECOVERY, fold, maskBit } from './parts/parity';
import { Streams } from './parts/streams';
export { ringcube_abi } from 'ringcube/sdk';

const MAX_STREAMS = 8;
const HISTORY = 64;
const WAITING = 4;
/** Ahead or behind by more, the source has begun anew (RFC 3550 A.1). */
const MAX_DROPOUT = 3000;
const MAX_MISORDER = 100;
const LONG_MASK = 0x40;

// A packet kept: its length (0: none), then itself.
const LENGTH: usize = 0;
const PACKET: usize = 8;
const KEPT_BYTES: i32 = 8 + MAX_PACKET_BYTES;
const WAITING_BYTES: i32 = 8 + ((MAX_PARITY_BYTES + 7) & ~7);
// A stream: its highest sequence number (-1: none yet), the place of the next parity packet that has to wait, both kinds of packets.
const HIGHEST: usize = 0;
const NEXT_WAITING: usize = 4;
const HISTORY_AT: usize = 8;
const WAITING_AT: usize = HISTORY_AT + HISTORY * KEPT_BYTES;
const STREAM_BYTES: i32 = 8 + HISTORY * KEPT_BYTES + WAITING * WAITING_BYTES;

const streams = new Streams(MAX_STREAMS);
const table = heap.alloc(MAX_STREAMS * STREAM_BYTES);
/** A parity packet from which the packets that are there are taken out. */
const scratch = memory.data(MAX_PARITY_BYTES, 8);

let parityType = 127;

export function init(ptr: usize, length: i32): i32 {
  const config = new Config(ptr, length);
  parityType = config.integer('payloadType', 127, 0, 127);
  return config.done();
}

function clear(stream: usize): void {
  store<i32>(stream, -1, HIGHEST);
  store<i32>(stream, 0, NEXT_WAITING);
  for (let i = 0; i < HISTORY; i++) store<i32>(stream + HISTORY_AT + i * KEPT_BYTES, 0, LENGTH);
  for (let i = 0; i < WAITING; i++) store<i32>(waiting(stream, i), 0, LENGTH);
}

function streamOf(sender: i32, source: u32): usize {
  const index = streams.find(sender, source);
  if (index >= 0) return table + index * STREAM_BYTES;
  const stream = table + streams.claim(sender, source) * STREAM_BYTES;
  clear(stream);
  return stream;
}

/** Where the packet of a sequence number lies, if it is kept. */
function kept(stream: usize, seq: i32): usize {
  return stream + HISTORY_AT + (seq & (HISTORY - 1)) * KEPT_BYTES;
}

function isKept(stream: usize, seq: i32): bool {
  const at = kept(stream, seq);
  return load<i32>(at, LENGTH) != 0 && sequence(at + PACKET) == seq;
}

function waiting(stream: usize, index: i32): usize {
  return stream + WAITING_AT + index * WAITING_BYTES;
}

function keep(at: usize, packet: usize, length: i32): void {
  store<i32>(at, length, LENGTH);
  memory.copy(at + PACKET, packet, length);
}

/** The length of the media packet that is left in `scratch`, written to `to`; 0 if what is left is none. */
function unfold(to: usize, seq: i32, source: u32): i32 {
  const rest = load16(scratch + LENGTH_RECOVERY);
  const length = RTP_BYTES + rest;
  if (rest > load16(scratch + PROTECTION_LENGTH) || length > MAX_PACKET_BYTES || length > bufferBytes()) return 0;
  store16(to, 0x8000 | (load16(scratch + FLAGS) & 0x3fff));
  store16(to + 2, seq);
  store32(to + 4, load32(scratch + TS_RECOVERY));
  setSsrc(to, source);
  memory.copy(to + RTP_BYTES, scratch + PARITY, rest);
  return parseRtp(to, length) ? length : 0;
}

/** Does with a parity packet what can be done; false if it has to wait for more media. */
function recover(stream: usize, parity: usize, length: i32): bool {
  const base = load16(parity + SN_BASE);
  const mask = load16(parity + MASK);
  let missing = -1;
  for (let i = 0; i < MASK_BITS; i++) {
    if ((mask & maskBit(i)) == 0 || isKept(stream, (base + i) & 0xffff)) continue;
    if (missing >= 0) return false;
    missing = (base + i) & 0xffff;
  }
  const to = emitBuffer();
  if (missing < 0 || to == 0) return true;

  memory.copy(scratch, parity, length);
  memory.fill(scratch + length, 0, MAX_PARITY_BYTES - length);
  for (let i = 0; i < MASK_BITS; i++) {
    const seq = (base + i) & 0xffff;
    if ((mask & maskBit(i)) == 0 || seq == missing) continue;
    const at = kept(stream, seq);
    fold(scratch, at + PACKET, load<i32>(at, LENGTH));
  }
  const recovered = unfold(to, missing, ssrc(parity));
  if (recovered == 0) return true;
  remember(stream, to, recovered);
  emit(recovered);
  return true;
}

/** Looks at those that wait until none of them brings forth anything more. */
function retry(stream: usize): void {
  for (let i = 0; i < WAITING; i++) {
    const at = waiting(stream, i);
    const length = load<i32>(at, LENGTH);
    if (length == 0 || !recover(stream, at + PACKET, length)) continue;
    store<i32>(at, 0, LENGTH);
    i = -1;
  }
}

/** Keeps a media packet for recovering others. */
function remember(stream: usize, packet: usize, length: i32): void {
  const seq = sequence(packet);
  const highest = load<i32>(stream, HIGHEST);
  const lead = highest < 0 ? 1 : ahead(seq, highest);
  if (lead > 0) store<i32>(stream, seq, HIGHEST);
  if (lead > -HISTORY) keep(kept(stream, seq), packet, length);
}

/** The length of the parity packet at `ptr`, without what may stand behind; 0 if it is none, or none of ours. */
function readParity(ptr: usize): i32 {
  const bytes = <i32>PARITY - RTP_BYTES;
  if (headerBytes != RTP_BYTES || payloadBytes < bytes || (load<u8>(ptr, FLAGS) & LONG_MASK) != 0) return 0;
  const length = <i32>PARITY + load16(ptr + PROTECTION_LENGTH);
  return length <= RTP_BYTES + payloadBytes && length <= MAX_PARITY_BYTES && load16(ptr + MASK) != 0 ? length : 0;
}

export function process(ptr: usize, length: i32, sender: i32): i32 {
  if (isRtcp(ptr, length)) return forward(length);
  if (!parseRtp(ptr, length)) return DROP;
  const stream = streamOf(sender, ssrc(ptr));

  if (payloadType(ptr) == parityType) {
    const parityBytes = readParity(ptr);
    if (parityBytes == 0) return DROP;
    if (recover(stream, ptr, parityBytes)) {
      retry(stream);
      return DROP;
    }
    const next = load<i32>(stream, NEXT_WAITING);
    keep(waiting(stream, next), ptr, parityBytes);
    store<i32>(stream, (next + 1) % WAITING, NEXT_WAITING);
    return DROP;
  }

  const seq = sequence(ptr);
  const highest = load<i32>(stream, HIGHEST);
  if (highest >= 0) {
    const lead = ahead(seq, highest);
    if (lead > MAX_DROPOUT || lead < -MAX_MISORDER) clear(stream);
  }
  if (isKept(stream, seq) && timestamp(kept(stream, seq) + PACKET) == timestamp(ptr)) return DROP;
  if (length <= MAX_PACKET_BYTES) {
    remember(stream, ptr, length);
    retry(stream);
  }
  return forward(length);
}
