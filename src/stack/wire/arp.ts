// ARP for IPv4 over Ethernet (RFC 826).
import { Address } from '../../base/index.js';
import { type Mac, readMac, writeMac } from './ethernet.js';

const ARP_BYTES = 28;

export const ArpOperation = { Request: 1, Reply: 2 } as const;

export interface Arp {
  operation: number;
  senderMac: Mac;
  sender: Address;
  targetMac: Mac;
  target: Address;
}

export function parseArp(bytes: Uint8Array): Arp | undefined {
  // Hardware type 1, protocol type 0x0800, lengths 6 and 4: else it is not for us (RFC 826 "?Do I have the hardware type").
  if (bytes.length < ARP_BYTES) return undefined;
  if (bytes[0] !== 0 || bytes[1] !== 1 || bytes[2] !== 8 || bytes[3] !== 0 || bytes[4] !== 6 || bytes[5] !== 4) return undefined;
  return {
    operation: (bytes[6] << 8) | bytes[7],
    senderMac: readMac(bytes, 8),
    sender: Address.read(bytes, 14, 4),
    targetMac: readMac(bytes, 18),
    target: Address.read(bytes, 24, 4),
  };
}

export function buildArp(arp: Arp): Uint8Array {
  const bytes = new Uint8Array(ARP_BYTES);
  bytes.set([0, 1, 8, 0, 6, 4, arp.operation >>> 8, arp.operation]);
  writeMac(bytes, 8, arp.senderMac);
  arp.sender.write(bytes, 14);
  writeMac(bytes, 18, arp.targetMac);
  arp.target.write(bytes, 24);
  return bytes;
}
