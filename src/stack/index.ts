// stack: a host's network layers at user level, over cards of the layer below: Ethernet, ARP, IPv4, IPv6, ICMP, neighbour
// discovery, routing, UDP. wire/ has the formats, one a file; stack.ts puts the layers together and draws them.
export { DatagramBatch } from './datagrams.js';
export { type IcmpErrorKind } from './icmp.js';
export { type Advertise, Interface, type InterfaceOptions, type LocalAddress } from './interface.js';
export { type SendResult } from './ip-output.js';
export { Stack, type StackOptions } from './stack.js';
export { UdpFlow } from './udp-flow.js';
export { type Datagram, UdpSocket, type UdpSocketCounters, type UdpSocketOptions } from './udp-socket.js';
