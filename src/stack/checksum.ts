/**
 * The Internet checksum (RFC 1071): sums are of 16-bit words in network order, kept below 2^32 and folded at the end.
 */

/** Adds `length` bytes from `at` to `sum`; an odd last byte counts as its word's first (RFC 1071 §4.1). */
export function sumBytes(bytes: Uint8Array, at: number, length: number, sum = 0): number {
  const end = at + length;
  let i = at;
  for (; i + 1 < end; i += 2) sum += (bytes[i] << 8) | bytes[i + 1];
  if (i < end) sum += bytes[i] << 8;
  return sum;
}

/** A sum in 16 bits. Exact for sums of up to 2^37 words' worth: numbers are doubles here. */
export function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

/** What goes into a checksum field for this sum. */
export function finish(sum: number): number {
  return ~fold(sum) & 0xffff;
}

/** The sum of the pseudo-header (RFC 768, RFC 8200 §8.1) over the addresses at `at`, of both and in that order. */
export function sumPseudo(bytes: Uint8Array, at: number, addressBytes: number, protocol: number, length: number): number {
  return sumBytes(bytes, at, 2 * addressBytes) + protocol + (length >>> 16) + (length & 0xffff);
}

/** RFC 1624 (3): the checksum after a word changed from `before` to `after`. */
export function update(checksum: number, before: number, after: number): number {
  return finish((~checksum & 0xffff) + (~before & 0xffff) + after);
}
