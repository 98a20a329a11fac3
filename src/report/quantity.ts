/** A prefix to a unit: `value / factor` is a number of `symbol`s. */
export interface Scale {
  factor: number;
  /** 'Mframes/s', 'µs', 'KiB'. */
  symbol: string;
  /** The same where a heading already names the unit: 'M', but 'µs' and 'KiB'. */
  short: string;
}

/** How numbers of a unit are written. */
export interface Units {
  /** Ascending by factor. */
  scales: readonly Scale[];
  /** What a heading must name because the short symbols don't; may be ''. */
  heading: string;
  /** Steps of 1024, where round numbers are powers of two. */
  binary: boolean;
}

const TIME_NS: readonly (readonly [name: string, ns: number])[] = [['ns', 1], ['µs', 1e3], ['ms', 1e6], ['s', 1e9]];
const SI = ['', 'k', 'M', 'G', 'T'];
const IEC = ['', 'Ki', 'Mi', 'Gi', 'Ti'];

/**
 * What is known of a unit. Times (ns, us or µs, ms, s) and bytes (B, binary prefixes) may be per something
 * ('ns/frame'); '%', '×' and 'x' take no prefix; all else, rates of bytes too, takes SI prefixes.
 */
export function inUnits(unit: string): Units {
  const time = /^(ns|us|µs|μs|ms|s)(\/.+)?$/.exec(unit);
  if (time) {
    const name = time[1].replace(/^[uμ]/, 'µ');
    const ns = TIME_NS.find((entry) => entry[0] === name)![1];
    return whole(TIME_NS.map(([symbol, step]) => [step / ns, symbol + (time[2] ?? '')]), false);
  }
  const bytes = /^(?:B|bytes?)(\/(?!s$).+)?$/.exec(unit);
  if (bytes) return whole(IEC.map((prefix, power) => [1024 ** power, `${prefix}B${bytes[1] ?? ''}`]), true);
  if (unit === '%' || unit === '×' || unit === 'x') return whole([[1, unit.replace('x', '×')]], false);
  return { scales: SI.map((prefix, power) => ({ factor: 1000 ** power, symbol: prefix + unit, short: prefix })), heading: unit, binary: false };
}

function whole(steps: readonly (readonly [number, string])[], binary: boolean): Units {
  return { scales: steps.map(([factor, symbol]) => ({ factor, symbol, short: symbol })), heading: '', binary };
}

/** The largest scale in which `value` is at least 1 when rounded. */
export function scaleOf(value: number, units: Units): Scale {
  const { scales } = units;
  return scales.findLast((scale) => Math.abs(Number((value / scale.factor).toPrecision(3))) >= 1) ?? scales[0];
}

/** Three significant digits, no exponent for what a scale leaves: '21.3', '0.045', '1010', '–' for NaN. */
export function digits(value: number): string {
  if (Number.isNaN(value)) return '–';
  if (!Number.isFinite(value)) return value < 0 ? '−∞' : '∞';
  const rounded = Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
  return String(rounded).replace('-', '−');
}

/** A number and its unit for people: '21.3 Mframes/s', '850 ns', '34 %', '3.2 KiB'; '–' for NaN. */
export function humanize(value: number, unit: string): string {
  return withSymbol(value, unit, 'symbol');
}

/** As `humanize` where a heading names the unit: '21.3 M', but '850 ns'. */
export function humanizeShort(value: number, unit: string): string {
  return withSymbol(value, unit, 'short');
}

/** '20.1–22', in the prefix of the median unless that would make an end unreadable. */
export function humanizeSpread(spread: { median: number; min: number; max: number }, unit: string): string {
  const units = inUnits(unit);
  const { factor } = scaleOf(spread.median, units);
  const ends = [spread.min, spread.max];
  const readable = ends.every((end) => end === 0 || (Math.abs(end / factor) >= 0.01 && Math.abs(end / factor) < 10_000));
  return ends.map((end) => (readable ? digits(end / factor) : humanizeShort(end, unit))).join('–');
}

function withSymbol(value: number, unit: string, which: 'symbol' | 'short'): string {
  if (Number.isNaN(value)) return '–';
  const scale = scaleOf(value, inUnits(unit));
  return `${digits(value / scale.factor)} ${scale[which]}`.trimEnd();
}
