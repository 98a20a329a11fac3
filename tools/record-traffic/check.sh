#!/usr/bin/env bash
# usage: tools/record-traffic/check.sh FILE    (no root; needs tshark)
# Prints the frames of a recording by kind; fails when a kind is missing or tshark finds fault with a frame.
set -euo pipefail

fail() { echo "record-traffic: $1" >&2; exit "${2:-1}"; }
[[ $# -eq 1 && -f ${1-} ]] || fail "check.sh takes the FILE of a recording" 2
command -v tshark >/dev/null || fail "missing Debian packages: apt-get install tshark"
file=$1
max_bytes=$((250 * 1024)) # the file lives in git and in the npm package

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export WIRESHARK_CONFIG_DIR=$scratch # the user's own preferences could change what tshark finds

# Wireshark leaves these checksums unverified by default, since captures with offloads would fail.
options=(-n -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE -o tcp.check_checksum:TRUE)
for stream in 5004,rtp 5005,rtcp 5006,rtp 5007,rtcp; do options+=(-d "udp.port==$stream"); done
count() { # FILTER; leaves the frames in $scratch/frames
  tshark -r "$file" "${options[@]}" -Y "$1" >"$scratch/frames" 2>"$scratch/log" ||
    fail "$(grep -m 1 '^tshark:' "$scratch/log" || cat "$scratch/log")"
  wc -l <"$scratch/frames"
}

while IFS='|' read -r kind filter; do
  frames=$(count "$filter")
  printf '%-34s %6d\n' "$kind" "$frames"
  [[ $frames -gt 0 ]] || fail "the capture holds no frame of this kind: $kind"
done <<'END'
RTP over IPv4 (PCMU)|rtp && ip
RTP over IPv6 (L16)|rtp && ipv6
RTCP|rtcp
DNS query|dns.flags.response == 0
DNS response|dns.flags.response == 1
UDP over IPv4|udp && ip
UDP over IPv6|udp && ipv6
TCP over IPv4|tcp && ip
TCP over IPv6|tcp && ipv6
TCP with payload|tcp.len > 0
ICMP echo request|icmp.type == 8
ICMP echo reply|icmp.type == 0
ICMPv6 echo request|icmpv6.type == 128
ICMPv6 echo reply|icmpv6.type == 129
ICMPv6 neighbour solicitation|icmpv6.type == 135
ICMPv6 neighbour advertisement|icmpv6.type == 136
ICMPv6 multicast listener report|icmpv6.type == 143
ARP request|arp.opcode == 1
ARP reply|arp.opcode == 2
IPv4 fragment|ip.flags.mf == 1 or ip.frag_offset > 0
IPv6 fragment|ipv6.fraghdr
all frames|frame
END

# Status 1 is "good"; to ask for "bad" would let pass what was never verified.
while IFS='|' read -r fault filter; do
  frames=$(count "$filter")
  [[ $frames -eq 0 ]] || fail "$fault: $frames frames, the first: $(head -n 1 "$scratch/frames")"
done <<'END'
IPv4 header checksum not verified good|ip.checksum.status != 1
UDP checksum not verified good|udp.checksum.status != 1
TCP checksum not verified good|tcp.checksum.status != 1
ICMP checksum not verified good|icmp.checksum.status != 1
ICMPv6 checksum not verified good|icmpv6.checksum.status != 1
malformed or otherwise in error|_ws.malformed or _ws.expert.severity == error
cut short, or longer than an MTU of 1500 allows|frame.cap_len < frame.len or frame.len > 1514
earlier than the frame before|frame.time_delta < 0
something was unreachable|icmp.type == 3 or icmpv6.type == 1
TCP bytes missing|tcp.analysis.lost_segment or tcp.analysis.ack_lost_segment
END

bytes=$(stat -c %s "$file")
printf '%-34s %6d\n' 'bytes in the file' "$bytes"
[[ $bytes -le $max_bytes ]] || fail "the capture has more than $max_bytes bytes"
