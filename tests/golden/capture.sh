#!/bin/bash
# Makes the golden packets of this folder again, from real daemons.
#
#   sudo tests/golden/capture.sh [CASE...]
#
# For every folder CASE a pair of network namespaces is made, joined by a veth pair: the sender runs keepalived with
# CASE/keepalived.conf (or FRR's zebra and vrrpd with CASE/frr.conf), the listener runs tcpdump. The sender becomes
# master, speaks for a moment, and is told to stop, so that each capture holds adverts, announcements and the last
# advert with priority 0. Nothing outside the two namespaces hears anything.
# Sender: 192.0.2.1/24, fe80::1, 2001:db8::1; listener: 192.0.2.2/24, fe80::2, 2001:db8::2.
set -u
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 1; }
cases=("$@")
[ ${#cases[@]} -gt 0 ] || cases=($(cd "$here" && ls -d */ | tr -d /))

capture() {
    local case=$1 dir=$here/$1 tag=$2
    local a=vipdgold-a$tag b=vipdgold-b$tag work
    work=$(mktemp -d)
    chmod 755 "$work"
    ip netns add "$a" && ip netns add "$b" || return 1
    ip -n "$a" link add eth0 address 02:00:00:00:00:01 type veth peer name eth0 netns "$b" address 02:00:00:00:00:02
    local side number
    for side in "$a:1" "$b:2"; do
        number=${side#*:}; side=${side%:*}
        ip netns exec "$side" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
            net.ipv6.conf.eth0.accept_dad=0
        ip -n "$side" link set eth0 addrgenmode none
        ip -n "$side" addr add "192.0.2.$number/24" dev eth0
        ip -n "$side" -6 addr add "fe80::$number/64" dev eth0 nodad
        ip -n "$side" -6 addr add "2001:db8::$number/64" dev eth0 nodad
        ip -n "$side" link set lo up
        ip -n "$side" link set eth0 up
    done
    ip netns exec "$b" tcpdump -q -U -i eth0 -w "$work/all.pcap" \
        'ip proto 112 or ip proto 51 or arp or ip6 proto 112 or (icmp6 and ip6[40] == 136)' >/dev/null 2>&1 &
    local dump=$!
    sleep 1
    local pids=()
    if [ -f "$dir/keepalived.conf" ]; then
        ip netns exec "$a" keepalived -n -l -D -f "$dir/keepalived.conf" -p "$work/p" -r "$work/r" -c "$work/c" >"$work/log" 2>&1 &
        pids=($!)
    else
        # FRR wants the macvlan that carries the virtual address to be there already.
        chown frr:frr "$work"
        ip -n "$a" link add vrrp4 link eth0 address 00:00:5e:00:01:05 type macvlan mode bridge
        ip -n "$a" addr add 192.0.2.50/32 dev vrrp4
        ip -n "$a" link add vrrp6 link eth0 address 00:00:5e:00:02:05 type macvlan mode bridge
        ip -n "$a" -6 addr add 2001:db8::50/128 dev vrrp6 nodad
        ip -n "$a" -6 addr add fe80::50/64 dev vrrp6 nodad
        ip -n "$a" link set vrrp4 addrgenmode none; ip -n "$a" link set vrrp6 addrgenmode none
        ip -n "$a" link set vrrp4 up; ip -n "$a" link set vrrp6 up
        ip netns exec "$a" /usr/lib/frr/zebra -z "$work/zserv" --vty_socket "$work" -i "$work/zebra.pid" >"$work/zlog" 2>&1 &
        pids=($!)
        sleep 1
        ip netns exec "$a" /usr/lib/frr/vrrpd -z "$work/zserv" --vty_socket "$work" -i "$work/vrrpd.pid" \
            -f "$dir/frr.conf" >"$work/log" 2>&1 &
        pids+=($!)
    fi
    sleep 10
    local pid
    for ((pid = ${#pids[@]} - 1; pid >= 0; pid--)); do kill -TERM "${pids[pid]}"; sleep 1; done
    wait "${pids[@]}" 2>/dev/null
    kill -INT "$dump"; wait "$dump" 2>/dev/null
    # Only what the sender says; nothing else is golden.
    tcpdump -q -r "$work/all.pcap" -w "$dir/sent.pcap" \
        'ether src 02:00:00:00:00:01 or ether src 00:00:5e:00:01:05 or ether src 00:00:5e:00:02:05' 2>/dev/null
    chown root:root "$dir/sent.pcap"; chmod 644 "$dir/sent.pcap"
    printf '%-16s %s frames\n' "$case" "$(tcpdump -q -r "$dir/sent.pcap" 2>/dev/null | wc -l)"
    [ "${KEEP_LOG:-}" ] && cp "$work/log" "/tmp/golden-$case.log"
    ip netns del "$a"; ip netns del "$b"
    rm -rf "$work"
}

n=0
for case in "${cases[@]}"; do
    n=$((n + 1))
    capture "$case" "$n" &
    [ $((n % 8)) = 0 ] && wait
done
wait
