#!/usr/bin/env bash
# Makes test/data/traffic.pcapng: real traffic of the Linux kernel, for replay. --help says more.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
default=$here/../test/data/traffic.pcapng
seconds=30                  # no step takes longer, whatever hangs
a4=198.18.0.1 b4=198.18.0.2 # RFC 2544's benchmark range: never routed
a6=fd00:18::1 b6=fd00:18::2

fail() { echo "record-traffic: $1" >&2; exit "${2:-1}"; }

case ${1-} in
  -h | --help)
    cat <<END
usage: tools/record-traffic.sh [FILE]

Records RTP, DNS, TCP, pings, ARP, neighbour discovery and fragments, over IPv4 and IPv6, between two network
namespaces that it creates and removes again; nothing leaves them. Checks the capture, prints its frames by kind and
only then puts it at FILE (test/data/traffic.pcapng). Takes about 15 seconds. Needs root, and on Debian:
  apt-get install iproute2 iputils-ping ethtool ffmpeg tshark wireshark-common nodejs
END
    exit 0 ;;
  -*) fail "unknown option '$1' (try --help)" 2 ;;
esac
[[ $# -le 1 ]] || fail "takes one FILE, got $# (try --help)" 2
target=${1-$default}
folder=$(cd "$(dirname "$target")" 2>/dev/null && pwd) || fail "no such directory: $(dirname "$target")" 2
target=${folder%/}/$(basename "$target")
[[ ! -d $target ]] || fail "is a directory, not a file: $target" 2

[[ $EUID -eq 0 ]] || fail "needs root, to create network namespaces: sudo tools/record-traffic.sh"
PATH=$PATH:/usr/sbin:/sbin # 'su' without '-' leaves them out
lacking=()
for need in ip:iproute2 ping:iputils-ping ethtool:ethtool ffmpeg:ffmpeg tshark:tshark dumpcap:wireshark-common node:nodejs; do
  command -v "${need%%:*}" >/dev/null || lacking+=("${need##*:}")
done
[[ ${#lacking[@]} -eq 0 ]] || fail "missing Debian packages: apt-get install ${lacking[*]}"

a=ringcube-rec-$$-a b=ringcube-rec-$$-b
declare -A running=()
scratch=
cleanup() {
  trap '' INT TERM HUP # a second Ctrl-C must not leave a namespace behind
  for pid in "${running[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  for ns in "$a" "$b"; do [[ ! -e /run/netns/$ns ]] || ip netns del "$ns" || true; done
  [[ -z $scratch ]] || rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Beside the target, so that the last mv is a rename: a reader sees the old file or the new one.
scratch=$(mktemp -d "$folder/.record-traffic.XXXXXX")


# Always in the background, even where we wait at once: bash runs traps during 'wait', not during a foreground command.
start() { # NAME NAMESPACE COMMAND...
  ip netns exec "$2" timeout -k 2 "$seconds" "${@:3}" </dev/null >"$scratch/$1.log" 2>&1 &
  running[$1]=$!
}
finish() { # NAME
  local status=0
  wait "${running[$1]}" || status=$?
  unset "running[$1]" # its pid may be someone else's from now on
  [[ $status -eq 0 ]] || fail "$1 failed (status $status): $(tail -n 1 "$scratch/$1.log")"
}
run() { start "$@" && finish "$1"; }
await() { # WHAT COMMAND...
  for ((i = 0; i < 100; i++)); do
    if "${@:2}"; then return; fi
    sleep 0.1
  done
  fail "$1 did not happen within 10 s"
}

for ns in "$a" "$b"; do
  ip netns add "$ns" 2>/dev/null || fail "cannot create network namespaces (a container without CAP_SYS_ADMIN?)"
done
# Born inside, so that no name appears on the host; fixed MACs make two recordings alike.
ip link add v netns "$a" address 02:00:00:00:18:01 type veth peer name v netns "$b" address 02:00:00:00:18:02
for end in "$a $a4 $a6" "$b $b4 $b6"; do
  read -r ns v4 v6 <<<"$end"
  # With offloads, the capture would show frames no wire carries: 64 kB long, their checksums not yet filled in.
  run offloads "$ns" ethtool -K v rx off tx off sg off tso off gso off gro off
  run ipv6 "$ns" sh -c 'echo 0 >/proc/sys/net/ipv6/conf/v/disable_ipv6' # some hosts switch it off by default
  ip -n "$ns" addr add "$v4/24" dev v
  ip -n "$ns" addr add "$v6/64" dev v
done

# The far end comes up after the capture began: so it holds duplicate address detection and the multicast joins too.
ip -n "$a" link set v up
start capture "$a" dumpcap -q -n -i v -w "$scratch/captured.pcapng"
await "start of the capture" grep -qs '^File:' "$scratch/capture.log"
ip -n "$b" link set v up
# By way of a file: bash 5.2 may misparse a $(…) in a loop when a trap interrupts it, and end with a syntax error.
settled() {
  for ns in "$a" "$b"; do ip -n "$ns" -6 addr show tentative; done >"$scratch/tentative"
  [[ ! -s $scratch/tentative ]]
}
await "duplicate address detection" settled

start peer "$b" node "$here/record-traffic/peers.mjs" serve
await "start of the peer" grep -qs '^ready' "$scratch/peer.log"

# The streams run beside all else, so that the flows interleave as on a real wire.
sine() { echo "sine=frequency=440:sample_rate=$1:samples_per_frame=$2"; }
ffmpeg=(ffmpeg -nostdin -hide_banner -loglevel error -re -f lavfi)
start PCMU "$a" "${ffmpeg[@]}" -i "$(sine 8000 160)" -t 3 -c:a pcm_mulaw -f rtp "rtp://$b4:5004?pkt_size=172"
start L16 "$a" "${ffmpeg[@]}" -i "$(sine 16000 160)" -t 1 -c:a pcm_s16be -f rtp "rtp://[$b6]:5006?pkt_size=332"
for size in 0 56 1000 4000; do
  run "ping of $size bytes, IPv4" "$a" ping -q -c 2 -i 0.2 -w 5 -s "$size" "$b4"
  run "ping of $size bytes, IPv6" "$b" ping -q -c 2 -i 0.2 -w 5 -s "$size" "$a6"
done
run "talk over IPv4" "$a" node "$here/record-traffic/peers.mjs" talk "$b4" 44000
run "talk over IPv6" "$a" node "$here/record-traffic/peers.mjs" talk "$b6" 8000
finish PCMU
finish L16
sleep 0.5 # the last frames wait in the kernel's ring for dumpcap
kill "${running[capture]}"
finish capture

# A full ring loses frames without a word elsewhere; dumpcap's last line is "…received/dropped on interface 'v': 523/0 (…".
grep -q "'v': [0-9]*/0 " "$scratch/capture.log" || fail "frames were lost: $(tail -n 1 "$scratch/capture.log")"

# Two CPUs may hand in their frames out of order by some microseconds; a replay wants no negative gaps.
# (reordercap comes in dumpcap's package.)
reordercap "$scratch/captured.pcapng" "$scratch/traffic.pcapng" >"$scratch/reorder.log" 2>&1 ||
  fail "reordercap: $(tail -n 1 "$scratch/reorder.log")"

"$here/record-traffic/check.sh" "$scratch/traffic.pcapng" &
running[check]=$!
wait "${running[check]}" || exit 1 # it has said why
unset "running[check]"

chmod 644 "$scratch/traffic.pcapng"
chown --reference="$folder" "$scratch/traffic.pcapng" # under sudo, the file is still the tree's owner's
mv "$scratch/traffic.pcapng" "$target"
