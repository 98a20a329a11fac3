# Sends what no host should, and says what comes back. Run inside the namespace, with Debian's python3 for its scapy. A line of
# input is an expression for packets, each an IP packet or whole frame; they go out one after the other, then an echo request;
# a line of output is the JSON array of all that the host had sent when it answered that.
import json
import socket
import struct
import sys
import time

from scapy.all import *

US, KERNEL, ODD = '02:00:00:00:00:0a', '02:00:00:00:00:0b', '02:00:00:00:00:66'
US4, KERNEL4, BROADCAST4 = '198.18.0.2', '198.18.0.1', '198.18.0.255'
US6, KERNEL6, NODES6 = 'fd00::2', 'fd00::1', 'ff02::1'
OPEN, CLOSED = 7007, 9


def v4(**fields):
    return IP(**{'src': KERNEL4, 'dst': US4, **fields})


def v6(**fields):
    return IPv6(**{'src': KERNEL6, 'dst': US6, **fields})


def udp(dport=OPEN, data=b'0123456789abcdef', **fields):
    return UDP(sport=40000, dport=dport, **fields) / data


def to(mac, packet):
    return Ether(src=ODD, dst=mac) / packet


def everyone(packet):
    return to('ff:ff:ff:ff:ff:ff' if packet.version == 4 else '33:33:00:00:00:01', packet)


def nd(message, *options, **fields):
    """A message of neighbour discovery, from where the kernel is."""
    packet = v6(**{'hlim': 255, **fields}) / message
    for option in options:
        packet = packet / option
    return packet


def segment(data, source=KERNEL4, destination=US4, dport=OPEN):
    """A UDP datagram's bytes with a right checksum, to be cut into fragments."""
    ip = IPv6 if ':' in destination else IP
    return bytes(ip(bytes(ip(src=source, dst=destination) / UDP(sport=40000, dport=dport) / data)).payload)


def cut4(parts, data=bytes(range(64)), ident=1, dport=OPEN, **fields):
    """IPv4 fragments [from, to) of a datagram; the one that ends it is the last."""
    whole = segment(data, dport=dport)
    return [v4(id=ident, flags=0 if end >= len(whole) else 'MF', frag=start // 8, proto=17, **fields) / whole[start:end] for start, end in parts]


def cut6(parts, data=bytes(range(64)), ident=1):
    whole = segment(data, KERNEL6, US6)
    return [v6() / IPv6ExtHdrFragment(nh=17, id=ident, offset=start // 8, m=0 if end >= len(whole) else 1) / whole[start:end] for start, end in parts]


def cut(packet, whole, proto, ident=999, size=1400):
    """IPv6 fragments of what is long, in order."""
    return [packet / IPv6ExtHdrFragment(nh=proto, id=ident, offset=i // 8, m=int(i + size < len(whole))) / whole[i:i + size] for i in range(0, len(whole), size)]


def hop(kind, **fields):
    return v6(**fields) / IPv6ExtHdrHopByHop(options=[HBHOptUnknown(otype=kind, optdata=b'1234')]) / udp()


def says(frame):
    """What a frame of the host's is, in a word or two; None for what it asks on its own account."""
    kind = struct.unpack('!H', frame[12:14])[0]
    if kind == 0x0806:
        return 'arp reply' if frame[21] == 2 else None
    if kind == 0x0800:
        at = 14 + (frame[14] & 15) * 4
        if frame[23] == 1:
            return 'icmp %d/%d' % (frame[at], frame[at + 1]) + (' at %d' % frame[at + 4] if frame[at] == 12 else '')
        return 'udp %d' % (struct.unpack('!H', frame[at + 4:at + 6])[0] - 8) if frame[23] == 17 else 'protocol %d' % frame[23]
    if kind == 0x86dd:
        if frame[20] == 58:
            if frame[54] in (133, 135, 143):
                return None
            return 'icmp6 %d/%d' % (frame[54], frame[55]) + (' at %d' % struct.unpack('!I', frame[58:62]) if frame[54] == 4 else '')
        return 'udp %d' % (struct.unpack('!H', frame[58:60])[0] - 8) if frame[20] == 17 else 'next header %d' % frame[20]
    return 'type %04x' % kind


wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
wire.bind(('tap0', 0))
us = bytes.fromhex(US.replace(':', ''))
barrier = 0
for line in sys.stdin:
    packets = eval(line)
    for packet in packets if isinstance(packets, list) else [packets]:
        wire.send(bytes(packet if isinstance(packet, Ether) or isinstance(packet, bytes) else to(US, packet)))
    barrier += 1
    mark = struct.pack('!HH', 0xbeef, barrier)
    wire.send(bytes(Ether(src=KERNEL, dst=US) / v4() / ICMP(id=0xbeef, seq=barrier)))
    heard = []
    end = time.monotonic() + 10
    while True:
        wire.settimeout(max(0.001, end - time.monotonic()))
        try:
            frame = wire.recv(70000)
        except TimeoutError:
            heard.append('no answer to a ping any more')
            break
        if frame[6:12] != us:
            continue
        if frame[12:14] == b'\x08\x00' and frame[23] == 1 and frame[34] == 0 and frame[38:42] == mark:
            break
        word = says(frame)
        if word is not None:
            heard.append(word)
    print(json.dumps(heard), flush=True)
