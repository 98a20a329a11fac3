// Readings of sensors in, one summary of each sensor and window of time out.
//
//     {"windowMs": 1000}
//
// A payload is one reading or several, each 16 bytes, big-endian: sensor (u32), time (f64, milliseconds since whenever), value (f32). A
// payload of another length is dropped whole; a reading whose time or value is not finite is left out. Windows tumble: window w has the
// times from w × windowMs up to, but without, (w + 1) × windowMs. It closes when a reading of a later one comes, or at a tick when no
// reading has come for as long as a window lasts. Readings that come after their window closed are left out; where nothing else comes
// for ten windows' time, a clock was wrong, and windows begin anew.
//
// For each sensor of a closed window, in the order of their first readings, a record of 32 bytes, big-endian: sensor (u32), count (u32),
// start of the window (f64, milliseconds), least, greatest and mean value (f32), and 4 bytes of zeros. A payload has as many as fit. At
// most 500 sensors a window; the readings of others are left out, and so is a window that closes while an earlier one still waits for
// emit buffers: what was left out is told to the log when its count doubles.
import { Config, DROP, beginRestore, beginSave, bufferBytes, emit, emitBuffer, endRestore, endSave, loadF32, loadF64, load32, log, now, putBytes, putF64, putI32, storeF32, storeF64, store32, takeBytes, takeF64, takeI32 } from 'ringcube/sdk';
export { ringcube_abi } from 'ringcube/sdk';

const STATE_VERSION = 1;
const READING_BYTES = 16;
const SUMMARY_BYTES = 32;
/** Windows without a reading in time, until windows begin anew. */
const MAX_SILENT_WINDOWS: f64 = 10;
const MAX_SENSORS = 500;

// Fields of a sensor in a table.
const SENSOR: usize = 0;
const COUNT: usize = 4;
const MIN: usize = 8;
const MAX: usize = 12;
const SUM: usize = 16;
const ENTRY_BYTES = 24;

/** The window that readings go into, and the closed one that is being emitted: its sensors from `emitted` on. */
let open = memory.data(MAX_SENSORS * ENTRY_BYTES, 8);
let closed = memory.data(MAX_SENSORS * ENTRY_BYTES, 8);
let openSensors = 0;
let closedSensors = 0;
let emitted = 0;
let openWindow: f64 = -Infinity;
let closedWindow: f64 = 0;

let windowMs: f64 = 1000;
let lastReadingUs: f64 = 0;
let leftOut = 0;
let leftOutTold = 0;

export function init(ptr: usize, length: i32): i32 {
  const config = new Config(ptr, length);
  windowMs = config.number('windowMs', 1000, 1, 1e9);
  return config.done();
}

function leaveOut(readings: i32): void {
  leftOut += readings;
  if (leftOut < 2 * leftOutTold + 1) return;
  leftOutTold = leftOut;
  log('left readings out: too late, of too many sensors, not finite, or without room to emit');
}

/** Emits what waits, as far as there is room. */
function flush(): void {
  const fits = bufferBytes() / SUMMARY_BYTES;
  while (emitted < closedSensors && fits > 0) {
    const to = emitBuffer();
    if (to == 0) return;
    const count = min(closedSensors - emitted, fits);
    for (let i = 0; i < count; i++) summary(to + i * SUMMARY_BYTES, closed + (emitted + i) * ENTRY_BYTES);
    emitted += count;
    emit(count * SUMMARY_BYTES);
  }
}

function summary(to: usize, entry: usize): void {
  const count = load<u32>(entry, COUNT);
  store32(to, load<u32>(entry, SENSOR));
  store32(to + 4, count);
  storeF64(to + 8, closedWindow * windowMs);
  storeF32(to + 16, load<f32>(entry, MIN));
  storeF32(to + 20, load<f32>(entry, MAX));
  storeF32(to + 24, <f32>(load<f64>(entry, SUM) / <f64>count));
  store32(to + 28, 0);
}

function close(): void {
  if (emitted < closedSensors) {
    leaveOut(openSensors);
  } else {
    const emptied = closed;
    closed = open;
    open = emptied;
    closedWindow = openWindow;
    closedSensors = openSensors;
    emitted = 0;
  }
  openSensors = 0;
  flush();
}

/** The open window's entry of a sensor; 0 if there is no room for another. */
function entryOf(sensor: u32): usize {
  for (let i = 0; i < openSensors; i++) {
    if (load<u32>(open + i * ENTRY_BYTES, SENSOR) == sensor) return open + i * ENTRY_BYTES;
  }
  if (openSensors == MAX_SENSORS) return 0;
  const entry = open + openSensors * ENTRY_BYTES;
  openSensors++;
  store<u32>(entry, sensor, SENSOR);
  store<u32>(entry, 0, COUNT);
  store<f32>(entry, Infinity, MIN);
  store<f32>(entry, -Infinity, MAX);
  store<f64>(entry, 0, SUM);
  return entry;
}

function read(reading: usize): void {
  const time = loadF64(reading + 4);
  const value = loadF32(reading + 12);
  const window = Math.floor(time / windowMs);
  if (!isFinite(window) || !isFinite(value) || window < openWindow) return leaveOut(1);
  if (window > openWindow) {
    if (openSensors > 0) close();
    openWindow = window;
  }
  const entry = entryOf(load32(reading));
  if (entry == 0) return leaveOut(1);
  store<u32>(entry, load<u32>(entry, COUNT) + 1, COUNT);
  store<f32>(entry, min(load<f32>(entry, MIN), value), MIN);
  store<f32>(entry, max(load<f32>(entry, MAX), value), MAX);
  store<f64>(entry, load<f64>(entry, SUM) + <f64>value, SUM);
  lastReadingUs = now();
}

export function process(ptr: usize, length: i32, _sender: i32): i32 {
  flush();
  if (length % READING_BYTES != 0) return DROP;
  for (let at = 0; at < length; at += READING_BYTES) read(ptr + at);
  return DROP;
}

export function tick(): void {
  flush();
  const silentMs = (now() - lastReadingUs) / 1000;
  if (openSensors > 0 && silentMs >= windowMs) {
    close();
    // What comes of it from now on is late.
    openWindow += 1;
  }
  if (silentMs >= MAX_SILENT_WINDOWS * windowMs) openWindow = -Infinity;
}

export function save(ptr: usize, capacity: i32): i32 {
  beginSave(ptr, capacity, STATE_VERSION);
  putF64(windowMs);
  putF64(openWindow);
  putF64(closedWindow);
  putF64(lastReadingUs);
  putI32(openSensors);
  putI32(closedSensors);
  putI32(emitted);
  putI32(leftOut);
  putBytes(open, openSensors * ENTRY_BYTES);
  putBytes(closed, closedSensors * ENTRY_BYTES);
  return endSave();
}

export function restore(ptr: usize, length: i32): i32 {
  beginRestore(ptr, length, STATE_VERSION);
  // Of another length, its windows have other numbers.
  if (takeF64() != windowMs) return 1;
  openWindow = takeF64();
  closedWindow = takeF64();
  lastReadingUs = takeF64();
  openSensors = takeI32();
  closedSensors = takeI32();
  emitted = takeI32();
  leftOut = takeI32();
  leftOutTold = leftOut;
  if (<u32>openSensors > <u32>MAX_SENSORS || <u32>closedSensors > <u32>MAX_SENSORS || <u32>emitted > <u32>closedSensors) return 1;
  takeBytes(open, openSensors * ENTRY_BYTES);
  takeBytes(closed, closedSensors * ENTRY_BYTES);
  return endRestore();
}
