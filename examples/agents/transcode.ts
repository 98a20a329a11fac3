// Speech from 16-bit samples to 8 bits: RTP of L16 (RFC 3551 §4.5.11: big-endian, linear) at 8 kHz becomes RTP of PCMU (§4.5.14: ITU-T
// G.711 μ-law, payload type 0), in place. Sequence number, timestamp, marker, contributing sources and extension stay as they are;
// padding is left out. What is no RTP, or holds half a sample, is dropped; other payload types and RTCP go through.
//
//     {"payloadType": 96, "channels": 1}
//
// payloadType: the L16 stream's (default 96). channels: 1 (default), or 2: left and right, which become their mean, as payload type 0
// is of one channel.
import { Config, DROP, forward, inputLength, inputPtr, setVerdict } from 'ringcube/sdk';
import { clearPadding, headerBytes, isRtcp, parseRtp, payloadBytes, payloadType, setPayloadType } from 'ringcube/sdk/rtp';
export { ringcube_abi } from 'ringcube/sdk';

const PCMU = 0;
/** What G.711 adds to a magnitude of 14 bits, so that its segment is the place of its highest bit. */
const BIAS = 33;
const MAX_BIASED = 8191;

let l16 = 96;
let channels = 1;

export function init(ptr: usize, length: i32): i32 {
  const config = new Config(ptr, length);
  l16 = config.integer('payloadType', 96, 0, 127);
  channels = config.integer('channels', 1, 1, 2);
  if (l16 == PCMU) config.refuse('payloadType: 0 is what comes out');
  return config.done();
}

/**
 * G.711 table 2a, for 16 bits as in ITU-T G.191's ulaw_compress. A magnitude m from 33 to 8191 is, as a binary fraction, 1.abcd… × 2^s: the
 * code is s - 5 (3 bits) and abcd, which stand in just that order in the bits of m as an f32.
 */
function muLaw(sample: i32): i32 {
  const sign = sample >> 31;
  const magnitude = min(((sample ^ sign) >> 2) + BIAS, MAX_BIASED);
  const code = (reinterpret<i32>(<f32>magnitude) >> 19) - ((127 + 5) << 4);
  return code ^ (0xff ^ (sign & 0x80));
}

function sampleAt(ptr: usize): i32 {
  return <i32>(<i16>bswap<u16>(load<u16>(ptr)));
}

/** Mono: each code is written before or at where samples are still to be read. */
function encode(ptr: usize, samples: i32): void {
  for (let i: usize = 0; i < <usize>samples; i++) store<u8>(ptr + i, <u8>muLaw(sampleAt(ptr + 2 * i)));
}

function encodeStereo(ptr: usize, samples: i32): void {
  for (let i: usize = 0; i < <usize>samples; i++) {
    store<u8>(ptr + i, <u8>muLaw((sampleAt(ptr + 4 * i) + sampleAt(ptr + 4 * i + 2)) >> 1));
  }
}

function transcode(ptr: usize, length: i32): i32 {
  if (isRtcp(ptr, length)) return forward(length);
  if (!parseRtp(ptr, length)) return DROP;
  if (payloadType(ptr) != l16) return forward(length);
  const sampleBytes = 2 * channels;
  if (payloadBytes % sampleBytes != 0) return DROP;
  const samples = payloadBytes / sampleBytes;
  if (channels == 1) encode(ptr + headerBytes, samples);
  else encodeStereo(ptr + headerBytes, samples);
  setPayloadType(ptr, PCMU);
  clearPadding(ptr);
  return forward(headerBytes + samples);
}

export function process_batch(count: i32): void {
  for (let i = 0; i < count; i++) setVerdict(i, transcode(inputPtr(i), inputLength(i)));
}
