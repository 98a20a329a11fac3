// Lets payloads through by what is in them. A payload matches if all the conditions that are given hold:
//
//     {"offset": 12, "mask": "f0ff", "value": "40ff", "contains": "temperature", "action": "forward"}
//
// offset, mask, value: the bytes at `offset` (default 0), masked, are those of `value`; hexadecimal, alike in length, at most 32 bytes;
// without a mask all bits count. contains: this text occurs, as UTF-8 (containsHex: these bytes), of at most 256 bytes. action: what
// happens to those that match: "forward" (default; the others are dropped) or "drop" (the others are forwarded).
import { Config, DROP, forward } from 'ringcube/sdk';
export { ringcube_abi } from 'ringcube/sdk';

const MAX_FIELD_BYTES = 32;
const MAX_NEEDLE_BYTES = 256;

const mask = memory.data(MAX_FIELD_BYTES);
const value = memory.data(MAX_FIELD_BYTES);
const needle = memory.data(MAX_NEEDLE_BYTES);
let fieldAt = 0;
let fieldBytes = 0;
let needleBytes = 0;
let keepsMatches = true;

function digit(code: i32): i32 {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1;
}

/** Writes the bytes of a hexadecimal setting; returns how many. */
function hex(config: Config, name: string, to: usize, maxBytes: i32): i32 {
  const text = config.text(name, '');
  const bytes = text.length / 2;
  let ok = (text.length & 1) == 0 && bytes <= maxBytes;
  for (let i = 0; ok && i < bytes; i++) {
    const high = digit(text.charCodeAt(2 * i));
    const low = digit(text.charCodeAt(2 * i + 1));
    ok = high >= 0 && low >= 0;
    store<u8>(to + i, <u8>((high << 4) | low));
  }
  if (!ok) config.refuse(`${name}: must be pairs of hexadecimal digits, at most ${maxBytes}`);
  return ok ? bytes : 0;
}

export function init(ptr: usize, length: i32): i32 {
  const config = new Config(ptr, length);
  fieldAt = config.integer('offset', 0, 0, 65535);
  fieldBytes = hex(config, 'value', value, MAX_FIELD_BYTES);
  memory.fill(mask, 0xff, MAX_FIELD_BYTES);
  if (config.has('mask') && hex(config, 'mask', mask, MAX_FIELD_BYTES) != fieldBytes) config.refuse('mask: must be as long as value');

  const text = config.text('contains', '');
  const textBytes = String.UTF8.byteLength(text);
  if (textBytes > MAX_NEEDLE_BYTES) config.refuse(`contains: must be at most ${MAX_NEEDLE_BYTES} bytes`);
  else needleBytes = <i32>String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, needle);
  if (config.has('containsHex')) {
    if (needleBytes > 0) config.refuse('containsHex: contains is there already');
    needleBytes = hex(config, 'containsHex', needle, MAX_NEEDLE_BYTES);
  }

  const action = config.text('action', 'forward');
  if (action != 'forward' && action != 'drop') config.refuse('action: must be "forward" or "drop"');
  keepsMatches = action == 'forward';
  if (fieldBytes + needleBytes == 0) config.refuse('must have value, contains or containsHex');
  return config.done();
}

function fieldMatches(ptr: usize, length: i32): bool {
  if (length < fieldAt + fieldBytes) return false;
  for (let i = 0; i < fieldBytes; i++) {
    const differing = load<u8>(ptr + fieldAt + i) ^ load<u8>(value + i);
    if ((differing & load<u8>(mask + i)) != 0) return false;
  }
  return true;
}

function contains(ptr: usize, length: i32): bool {
  const first = load<u8>(needle);
  const last = ptr + length - needleBytes;
  for (let at = ptr; at <= last; at++) {
    if (load<u8>(at) == first && memory.compare(at, needle, needleBytes) == 0) return true;
  }
  return false;
}

export function process(ptr: usize, length: i32, _sender: i32): i32 {
  const matches = (fieldBytes == 0 || fieldMatches(ptr, length)) && (needleBytes == 0 || contains(ptr, length));
  return matches == keepsMatches ? forward(length) : DROP;
}
