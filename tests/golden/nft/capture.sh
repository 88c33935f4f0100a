#!/bin/bash
# Makes the captures of this folder again: what nft and iptables-nft say of two rulesets, in a network namespace of its own.
#   sudo tests/golden/nft/capture.sh
set -euo pipefail
cd "$(dirname "$0")"
[ -n "${INSIDE:-}" ] || INSIDE=1 exec unshare -n "$PWD/$(basename "$0")"
nft -f - <<'RULES'
table inet filter {
 set peers { type ipv4_addr; flags interval; elements = { 10.0.0.1, 10.0.0.16/28 } }
 chain allowed { tcp dport 22 accept; return; }
 chain input { type filter hook input priority 0; policy drop;
  ct state established,related accept
  ct state invalid drop
  iifname "lo" accept
  iifname { "eth0", "eth1" } ip saddr 10.0.0.0/24 accept
  ip saddr @peers meta l4proto vrrp accept comment "drop vrrp"
  ip protocol 112 counter drop
  ip6 nexthdr vrrp drop
  ip daddr 224.0.0.18 drop
  ip6 daddr ff02::12 drop
  tcp dport { 22, 80-90 } accept
  udp dport 3784 limit rate 5/second burst 3 packets accept
  meta l4proto { icmp, ipv6-icmp } accept
  ip protocol vmap { tcp : jump allowed, udp : drop }
  iifname vmap { "eth0" : jump allowed }
  ip saddr . tcp dport { 10.0.0.1 . 22 } accept
  meta mark and 0xff == 1 accept
  fib daddr type broadcast drop
  pkttype multicast accept
  @nh,0,8 0x45 drop
  ip saddr != 10.0.0.0/24 reject with icmp type port-unreachable
  log prefix "x " counter drop
  jump allowed
  meta l4proto 51 drop
 }
 chain out { type filter hook output priority 0; oif lo accept; }
}
table ip nat { chain post { type nat hook postrouting priority 100; masquerade; ip saddr 10.0.0.0/8 snat to 192.0.2.1; } 
}
RULES
nft -j list ruleset >mixed.json
nft list ruleset >mixed.txt
nft flush ruleset
iptables-nft -P INPUT DROP
iptables-nft -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables-nft -A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT
iptables-nft -A INPUT -i eth0 -p 112 -m comment --comment "vrrp in" -j DROP
iptables-nft -t nat -A POSTROUTING -o eth0 -j MASQUERADE
nft -j list ruleset >iptables.json
iptables-nft -S >iptables.txt
