// Ethernet II (IEEE 802.3 clause 3.2.6).

export const ETHERNET_BYTES = 14;

export const EtherType = { Ipv4: 0x0800, Arp: 0x0806, Ipv6: 0x86dd } as const;

/** A 48-bit address as a number, the first byte the highest: comparable, and no object. */
export type Mac = number;

export const BROADCAST_MAC: Mac = 0xffffffffffff;

export function readMac(bytes: Uint8Array, at: number): Mac {
  const low = ((bytes[at + 2] << 24) | (bytes[at + 3] << 16) | (bytes[at + 4] << 8) | bytes[at + 5]) >>> 0;
  return ((bytes[at] << 8) | bytes[at + 1]) * 0x100000000 + low;
}

export function writeMac(bytes: Uint8Array, at: number, mac: Mac): void {
  const high = Math.floor(mac / 0x100000000);
  const low = (mac % 0x100000000) | 0;
  bytes[at] = high >>> 8;
  bytes[at + 1] = high;
  bytes[at + 2] = low >>> 24;
  bytes[at + 3] = low >>> 16;
  bytes[at + 4] = low >>> 8;
  bytes[at + 5] = low;
}

/** Multicast or broadcast: more than one station. */
export function isGroupMac(mac: Mac): boolean {
  return (Math.floor(mac / 2 ** 40) & 1) === 1;
}

export function formatMac(mac: Mac): string {
  return (mac.toString(16).padStart(12, '0').match(/../g) ?? []).join(':');
}

export function writeEthernet(bytes: Uint8Array, at: number, destination: Mac, source: Mac, type: number): void {
  writeMac(bytes, at, destination);
  writeMac(bytes, at + 6, source);
  bytes[at + 12] = type >>> 8;
  bytes[at + 13] = type;
}
