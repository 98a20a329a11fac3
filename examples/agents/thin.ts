// Thins RTP streams for subscribers with less bandwidth: leaves whole frames out, and numbers what remains anew. A frame is the packets
// of one timestamp (RFC 3550 §5.1); the first of its packets to come decides. Two ways, of which one or both may be asked for:
//
//     {"keep": 1, "of": 3, "rateBps": 500000, "burstBytes": 4000}
//
// keep, of: the first `keep` frames of every `of` (default 1 of 1). rateBps, burstBytes: a token bucket in bits per second of RTP packets,
// headers included; a frame passes if the bucket is not in debt, and may leave it in debt (default: no limit; a burst of 4,000 bytes).
//
// Sequence numbers: those of packets left out are closed up, so that a receiver takes what is thinned for whole; where a packet that may
// have been of a kept frame was lost on the way here, a gap stays. Reordered packets keep their order's numbers if their frame is among
// the last 8; later ones are dropped. Timestamps stay as they are. RTCP goes through as it is: its packet counts are the full stream's.
// Streams are told apart by sender and SSRC, 64 at most; with more, the one silent for longest is forgotten, and starts anew.
import { Config, DROP, beginRestore, beginSave, endRestore, endSave, forward, now, putBytes, putF64, takeBytes, takeF64 } from 'ringcube/sdk';
import { ahead, isRtcp, marker, parseRtp, sequence, setSequence, ssrc, timestamp } from 'ringcube/sdk/rtp';
import { Streams } from './parts/streams';
export { ringcube_abi } from 'ringcube/sdk';

const STATE_VERSION = 1;
const MAX_STREAMS = 64;
const FRAMES: u32 = 8;
/** Behind by more than this, the source has begun anew (RFC 3550 A.1). */
const MAX_MISORDER = 100;

// A stream: number of frames so far, then the last FRAMES of them.
const COUNT: usize = 0;
const FIRST_FRAME: usize = 4;
// A frame: `first` and `last` are its least and greatest sequence numbers, as far as is known; what goes out is numbered less by `shift`.
const TIMESTAMP: usize = 0;
const FIRST: usize = 4;
const LAST: usize = 6;
const SHIFT: usize = 8;
const FLAGS: usize = 10;
const FRAME_BYTES: usize = 12;
const STREAM_BYTES: i32 = 4 + <i32>FRAMES * 12;
const KNOWN: i32 = 1;
const KEPT: i32 = 2;
/** Its last packet, the one with the marker, was there. */
const ENDED: i32 = 4;

const streams = new Streams(MAX_STREAMS);
const table = memory.data(MAX_STREAMS * STREAM_BYTES, 4);

let keep = 1;
let every = 1;
let rateBps: f64 = 0;
let burstBytes: f64 = 0;
/** Bytes that may pass; the debt if negative. */
let tokens: f64 = 0;
let filledUs: f64 = -1;

export function init(ptr: usize, length: i32): i32 {
  const config = new Config(ptr, length);
  every = config.integer('of', 1, 1, 1000000);
  keep = config.integer('keep', 1, 0, every);
  rateBps = config.number('rateBps', 0, 1, 1e12);
  burstBytes = config.number('burstBytes', 4000, 1, 1e9);
  if (config.has('burstBytes') && rateBps == 0) config.refuse('burstBytes: must come with rateBps');
  tokens = burstBytes;
  return config.done();
}

/** Frame `age` of a stream, 0 being the current one. */
function frameAt(stream: usize, age: u32): usize {
  return stream + FIRST_FRAME + <usize>((load<u32>(stream, COUNT) - 1 - age) % FRAMES) * FRAME_BYTES;
}

function has(frame: usize, flag: i32): bool {
  return (load<u16>(frame, FLAGS) & flag) != 0;
}

function mark(frame: usize, flag: i32): void {
  store<u16>(frame, load<u16>(frame, FLAGS) | flag, FLAGS);
}

/** Whether the bucket lets a frame pass. */
function affordable(): bool {
  if (rateBps == 0) return true;
  const us = now();
  if (filledUs >= 0) tokens = min(burstBytes, tokens + ((us - filledUs) * rateBps) / 8e6);
  filledUs = us;
  return tokens >= 0;
}

/** Begins a frame after all others. */
function begin(stream: usize, seq: i32, time: u32): usize {
  const count = load<u32>(stream, COUNT);
  const previous = frameAt(stream, 0);
  let shift = <i32>load<u16>(previous, SHIFT);
  let first = seq;
  if (has(previous, KNOWN)) {
    const last = <i32>load<u16>(previous, LAST);
    const dropped = !has(previous, KEPT);
    if (dropped) shift += last - <i32>load<u16>(previous, FIRST) + 1;
    // Who is missing in between was of this frame, or of another dropped one.
    if (dropped || has(previous, ENDED)) first = last + 1;
  }
  store<u32>(stream, count + 1, COUNT);
  const frame = frameAt(stream, 0);
  store<u32>(frame, time, TIMESTAMP);
  store<u16>(frame, <u16>first, FIRST);
  store<u16>(frame, <u16>seq, LAST);
  store<u16>(frame, <u16>shift, SHIFT);
  store<u16>(frame, <u16>KNOWN, FLAGS);
  if (count % <u32>every < <u32>keep && affordable()) mark(frame, KEPT);
  return frame;
}

/** The frame that a packet belongs to, begun if need be; 0 if it is too late for one. */
function frameOf(stream: usize, seq: i32, time: u32): usize {
  const current = frameAt(stream, 0);
  const lead = ahead(seq, load<u16>(current, LAST));
  if (!has(current, KNOWN) || lead < -MAX_MISORDER) {
    for (let age: u32 = 0; age < FRAMES; age++) store<u16>(frameAt(stream, age), 0, FLAGS);
    return begin(stream, seq, time);
  }
  for (let age: u32 = 0; age < FRAMES; age++) {
    const frame = frameAt(stream, age);
    if (load<u32>(frame, TIMESTAMP) == time && has(frame, KNOWN)) return frame;
    // The usual packet that isn't of the current frame begins the next one.
    if (lead > 0) return begin(stream, seq, time);
  }
  return 0;
}

export function process(ptr: usize, length: i32, sender: i32): i32 {
  if (isRtcp(ptr, length)) return forward(length);
  if (!parseRtp(ptr, length)) return DROP;
  let index = streams.find(sender, ssrc(ptr));
  const isNew = index < 0;
  if (isNew) index = streams.claim(sender, ssrc(ptr));
  const stream = table + index * STREAM_BYTES;
  if (isNew) memory.fill(stream, 0, STREAM_BYTES);

  const seq = sequence(ptr);
  const frame = frameOf(stream, seq, timestamp(ptr));
  if (frame == 0) return DROP;
  if (ahead(seq, load<u16>(frame, FIRST)) < 0) store<u16>(frame, <u16>seq, FIRST);
  if (ahead(seq, load<u16>(frame, LAST)) > 0) store<u16>(frame, <u16>seq, LAST);
  if (marker(ptr)) mark(frame, ENDED);
  if (!has(frame, KEPT)) return DROP;
  if (rateBps > 0) tokens -= length;
  setSequence(ptr, seq - <i32>load<u16>(frame, SHIFT));
  return forward(length);
}

export function save(ptr: usize, capacity: i32): i32 {
  beginSave(ptr, capacity, STATE_VERSION);
  putF64(tokens);
  putF64(filledUs);
  streams.put();
  putBytes(table, MAX_STREAMS * STREAM_BYTES);
  return endSave();
}

export function restore(ptr: usize, length: i32): i32 {
  beginRestore(ptr, length, STATE_VERSION);
  tokens = takeF64();
  filledUs = takeF64();
  streams.take();
  takeBytes(table, MAX_STREAMS * STREAM_BYTES);
  return endRestore();
}
