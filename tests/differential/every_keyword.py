#!/usr/bin/env python3
"""Every keyword with values at and beyond its bounds, judged by keepalived and by vipd.

  every_keyword.py [--peer keepalived] [--ours target/debug/vipd] [--only BLOCK[/KEYWORD]] [--out FOLDER] [--record FILE] [-v]

The file around the keyword is tests/values/whole.conf, which has every block and no mistake. The line under test takes the place of
the keyword's good line where there is one.  `vipctl keywords --json` says what a keyword takes; the values are made from that:
the bounds and what is next to them, other ways to write a number, words that are of no kind, too many words, none, quotes.

Agreement is that of differential.py, and in addition: if keepalived has nothing to say, vipd has neither an error nor a
warning.  --record writes keepalived's verdicts down, for tests/values/verdicts.rs: a line `[BLOCK] KEYWORD`, then for every verdict a
line of its exit code, with ! if keepalived names the line, and after tabs the values that it is about.  Root only; without root, keepalived or overlayfs the test is skipped (exit code 77).
"""
import argparse, collections, json, os, re, shutil, subprocess, sys
from differential import complaints, known, named, run

HERE = os.path.dirname(os.path.abspath(__file__))
WORDS = ["", "%no-such-thing", "-99999999999999", "99999999999999999999", '""', '"', "\\", "a b c d e f g", "{", "}", "{ }", "{ a }", "#", "5 # five"]
NUMBERS = ["0", "1", "2", "-1", "+1", "01", "010", "08", "0x10", "0x", "1.", ".5", "1.5", "1.0", "1.0000001", "0.0000001", "1e3", "5x", "5 5", '"5"', '"5 "',
           "'5'", "1,000", "255", "256", "4294967295", "4294967296", "2147483647", "2147483648", "65535", "65536", "4294.967295", "4294.967296", "4295",
           "0.001", "0.0009", "0.0001234"]
BOOLS = ["yes", "no", "on", "off", "true", "false", "YES", "On", "True", "y", "1", "0", "maybe", "on on", "off extra", '"on"', '"off"']
ADDRESSES = ["192.0.2.77", "192.0.2.77/24", "192.0.2.077", "192.0.2", "0", "1", "192.0.2.300", "2001:db8::77", "2001:db8::77/64", "::", "0.0.0.0", "255.255.255.255",
             "224.0.0.99", "224.0.0.99/24", "224.0.0.99-100", "ff02::99", "ff02::99/64", "fe80::1", "fe80::1%eth0", "::ffff:1.2.3.4", "127.0.0.1", "localhost", "192.0.2.77 80", "192.0.2.77 0", "192.0.2.77 65536", "192.0.2.77 http",
             "192.0.2.77-80", "192.0.2.77,192.0.2.78", "239.1.1.1", "ff05::1", "2001:db8:::1"]
NAMES = ["eth0", "eth1", "nosuchif", "lo", "averyverylonginterfacename", "abcdefghijklmno", "abcdefghijklmnop", "eth0:1", "eth0@if2", "e/th", ".", "..", "eth0 eth1",
         '"eth0"', "'eth 0'", "a/b", "x" * 31, "x" * 32, "x" * 255, "x" * 300]
PATHS = ["/usr/bin/true", "/no/such/thing", "true", "/usr/bin/true nobody", "/usr/bin/true nosuchuser", "/usr/bin/true nobody nogroup", "/usr/bin/true nobody nosuchgroup",
         '"/usr/bin/true a b"', '"/usr/bin/true a b" nobody', "/tmp", "/", "relative/path", '"/usr/bin/true \\"a\\""', "/usr/bin/true nobody nogroup extra", "root", "nobody", "nosuchuser",
         "root root", "nobody nosuchgroup", "0", "0 0", "65534", "99999", "<LVS"]
OTHER = ["MASTER", "BACKUP", "master", "FAULT", "PASS", "AH", "pass", "enforce", "permissive", "receive-only", "monotonic", "time", "initial", "partial", "never", "allow_if_changes",
         "all", "all 5", "all 0", "all 86401", "10 overwrite", "10 reverse", "-10 reverse", "10 noreverse", "254", "-254", "253", "-253", "255 reverse", "10 REVERSE", "reverse",
         "1.1", "1.0C", "1.0c", "1.2", "TCP", "udp", "SCTP", "ICMP", "rr", "wlc", "nosuch", "NAT", "DR", "TUN", "nat", "TUN type gue port 5555", "TUN type gre csum", "TUN type ipip port 1", "inet", "inet6",
         "A", "aaaa", "DNSKEY", "ANY", "200", "200-299", "99", "600", "200 300-310", "310-300", "MTU", "ADVERT", "mtu", "0644", "0999", "IRUSR|IWUSR", "0x1ff", "eth0 inst x id 5", "eth0 inst", "eth0 5 6",
         "eth0 port 70000", "eth0 ttl 0", "eth0 maxlen 0", "eth0 group 224.0.0.1", "tcp 900 tcpfin 120 udp 300", "tcp", "tcp -1", "10 20", "10 20 30", "vmac1", "00:11:22:33:44:55", "name vmac1 00:00:5e:00:01:01",
         "vmac1 00:11:22:33:44", "vmac1 group 5", "vmac1 netlink_notify_msg", "bridge", "private", "ipv1 192.0.2.1/24 bridge", "1 secret", "1 hex:00", "1 file:/no", "0 hex:" + "00" * 32, "256 hex:" + "00" * 32,
         "1 hex:" + "00" * 33, "1 " + "k" * 32, "1 " + "k" * 31, "+read", "-match", "+nosuch", "read", "chain1 chain2", "chain1", "a b", "wildcard_match", "v 1", "2 fwmark", "255.255.255.0", "64", "129",
         "0a0b", "0a0x", "xyz", "0a 0b", "cpu", "0 1", "0 999"]
LISTS = ["{ eth0 }", "{ nosuch }", "{ 192.0.2.90 }", "{ 192.0.2.90/24 dev eth0 }", "{ 192.0.2.90 min_ttl 5 }", "{ V1 }", "{ V1 V2 }", "{ alive }", "{ alive weight 5 }", "{ alive weight 500 }", "{ eth0 weight -10 reverse }",
         "{ eth0 5 }", "{ eth0 300 }", "{ 192.0.2.0/24 via 192.0.2.1 }", "{ from 192.0.2.0/24 table 100 }", "{ a@b.example }", "{ eth0 MII }", "{ eth0 nosuch }"]

WORTH = ["", "0", "1", "-1", "5x", "0x10", "256", "65536", "4294967295", "4294967296", "1-5", "1/2", "1.5", "forever", "main", "host", "nosuch", "eth0", "nosuchif", "192.0.2.5", "192.0.2.5/32", "2001:db8::5",
         "2001:db8::5/64", "lock 5", "5ms", "low", "averyverylongname16"]
# What a line of a list begins with, and the options that may follow it.
OPTIONS = {
    "address line": (["192.0.2.90/24", "2001:db8::90/64", "192.0.2.90"],
        "dev scope broadcast brd label peer home -nodad mngtmpaddr noprefixroute autojoin no_track preferred_lft use_vmac track_group nosuchoption"),
    "route line": (["198.51.100.0/24 dev eth0", "2001:db8:1::/64 dev eth0"],
        "inet inet6 to local blackhole unicast throw src via gw from tos dsfield table vrf protocol scope metric priority preference dev oif onlink expires mtu advmss reordering cwnd"
        " ssthresh rtt rttvar rto_min hoplimit window initcwnd initrwnd features quickack fastopen_no_cookie congctl pref ttl-propagate realms as add append prepend or no_track track_group"
        " nexthop via:nexthop weight:nexthop~dev~eth0 dev:nexthop onlink:nexthop~dev~eth0 id:encap~ip dst:encap~ip~id~5 ttl:encap~ip~id~5 id:encap~ip6 hoplimit:encap~ip6~id~5 encap nosuchoption"),
    "rule line": (["from 192.0.2.0/24 table 100 priority 50", "from 2001:db8::/64 priority 60"],
        "inet inet6 from to table lookup not preference order priority tos dsfield fwmark realms suppress_prefixlength sup_pl suppress_ifgroup sup_group dev iif oif tunnel-id uidrange l3mdev protocol"
        " ipproto sport dport type blackhole unreachable prohibit goto nop no_track track_group nosuchoption"),
    "IPADDR [min_ttl": (["192.0.2.90", "2001:db8::90"], "min_ttl max_ttl ttl nosuchoption"),
    "NAME [weight": (["alive", "weight", "named", "path", "nosuch"], "weight weight:weight~5 reverse:weight~5 noreverse:weight~5 reverse nosuchoption"),
    "IFNAME [weight": (["eth0", "nosuchif"], "weight weight:weight~5 reverse:weight~5 reverse nosuchoption"),
    "IFNAME TIMER": (["eth0", "nosuchif"], ":5 : :1.5"),
    "IFNAME [MII": (["eth0", "nosuchif"], "MII ETHTOOL IOCTL mii nosuchoption"),
}


def lines(keyword, arguments):
    """Lines of a list in braces, with one option each that has every value which any option could have."""
    made = [word for word in WORDS if "{" in word] + LISTS
    for sign, (heads, options) in OPTIONS.items():
        if sign not in arguments: continue
        for head in heads if keyword.startswith("virtual_") or "weight" in sign else heads[:1]:
            for option in options.split():
                option, _, before = option.partition(":")
                start = " ".join(f"{head} {before.replace('~', ' ')} {option}".split())
                made += [f"{{ {start} {worth} }}".replace("  ", " ") for worth in WORTH]
                made.append(f"{{ {start} {WORTH[2]} {option} {WORTH[2]} }}")
    return list(dict.fromkeys(made))


def values(keyword, arguments):
    """Everything for what is not clearly a number; a number gets its bounds and their neighbours instead of far-fetched words."""
    if "LIST" in arguments: return lines(keyword, arguments)
    made = list(WORDS)
    for low, high in re.findall(r"\[(-?[\d.]+)\.\.(-?[\d.]+)\]", arguments):
        for bound, outside in ((low, -1), (high, 1)):
            number = float(bound) if "." in bound else int(bound)
            made += [bound, f"{number + outside}", f"{number - outside}"]
            if "TIMER" in arguments or "DECIMAL" in arguments: made += [f"{float(bound) + outside * 1e-6:.6f}", f"{float(bound) + outside * 1e-3:.3f}"]
    number = re.search(r"INT|TIMER|DECIMAL|HEX|OCTAL", arguments)
    if number: made += NUMBERS
    if "BOOL" in arguments or arguments == "none": made += BOOLS
    if "ADDR" in arguments or "HOST" in arguments: made += ADDRESSES
    if re.search(r"STR|NAME|DIR|PATH|VS|TABLE|CHAIN|WORD", arguments): made += NAMES
    if re.search(r"SCRIPT|PATH|USER|DIR|STR", arguments): made += PATHS
    if not re.fullmatch(r"none|\[BOOL\]|(UINT|INT|TIMER|DECIMAL)\[[^ ]*|IPADDR|SCRIPT.*|PATH.*|DIR|IFNAME.*", arguments): made += OTHER
    return list(dict.fromkeys(made))


def placed(whole, block, keyword, line):
    """The whole file with one line in one block, and that line's number."""
    out, at, inside, depth = [], 0, None, 0
    for good in whole:
        if good.startswith("@"):
            if good[1:] == block:
                inside = depth; out.append(line); at = len(out)
            continue
        words = good.split()
        replaced = inside == depth and words and words[0] == keyword and not good.endswith("{")
        depth += good.endswith("{") - (good.strip() == "}")
        if inside is not None and depth < inside: inside = None
        if not replaced: out.append(good)
    return "\n".join(out) + "\n", at


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--peer", default="keepalived"); a.add_argument("--ours", default="target/debug/vipd"); a.add_argument("--only", default="")
    a.add_argument("--out"); a.add_argument("--record"); a.add_argument("-v", action="store_true"); a = a.parse_args()
    peer, ours = shutil.which(a.peer), os.path.abspath(a.ours)
    if os.geteuid() or not peer or not os.path.exists(ours): print("skipped: needs root, keepalived and a built vipd"); return 77
    table = json.loads(subprocess.run([os.path.join(os.path.dirname(ours), "vipctl"), "keywords", "--json"], check=True, capture_output=True, text=True).stdout)["keywords"]
    whole = open(os.path.join(HERE, "../values/whole.conf")).read().splitlines()
    rows = [r for r in table if "BLOCK" not in r["arguments"] and f"{r['block']}/{r['keyword']}".startswith(a.only) and "@" + r["block"] in whole]
    if a.out: os.makedirs(a.out, exist_ok=True)
    total = agreed = explained = broken = 0
    reasons, causes = collections.Counter(), collections.defaultdict(list)
    record = open(a.record, "w") if a.record else None
    for row in rows:
        verdicts = collections.defaultdict(list)
        lines = [f"{row['keyword']} {v}".rstrip(" ") for v in values(row["keyword"], row["arguments"])]
        made = [placed(whole, row["block"], row["keyword"], line) for line in lines]
        results = run(os.path.join(HERE, "../values/whole.conf"), [text for text, _ in made], peer, ours)
        if results is None: print("skipped: no namespaces or no overlayfs"); return 77
        for line, (text, at), ((pr, po), (r, o)) in zip(lines, made, results):
            if r < 124 and r >= 0 and r != 101 and (pr >= 124 or pr < 0): broken += 1; continue
            total += 1
            verdicts[f"{pr}!" if at in named(po) else f"{pr}"].append(line[len(row["keyword"]) + 1:])
            missing = named(po) - named(o)
            surplus = pr == 0 and bool(complaints(o))
            if pr == r and not missing and not surplus: agreed += 1; continue
            reason = known(text, po, o, pr == r)
            if reason: reasons[reason] += 1; continue
            what = f"exit {pr}, ours {r}" if pr != r else "line not named" if missing else "complaint where keepalived has none"
            causes[(what, row["block"], row["keyword"])].append((line, at, po, o))
            if a.out: open(os.path.join(a.out, f"{row['block'].replace('/', '.')}.{row['keyword']}.{len(causes[(what, row['block'], row['keyword'])])}.conf"), "w").write(text)
        if record:
            record.write(f"[{row['block']}] {row['keyword']}\n" + "".join("\t".join([v, *verdicts[v]]) + "\n" for v in sorted(verdicts)))
            record.flush()
    explained = sum(reasons.values())
    print(f"{len(rows)} keywords, {total} values compared, {broken} that the peer did not survive; {agreed} alike ({100 * agreed / max(total, 1):.2f}%), {explained} known")
    for reason, n in reasons.most_common(): print(f"  {n:5}  known: {reason}")
    for (what, block, keyword), cases in sorted(causes.items()):
        print(f"{len(cases):5}  {what} | {block} | {keyword}: " + " ; ".join(line[len(keyword):].strip()[:40] or "(none)" for line, *_ in cases[:12]))
        for line, at, po, o in cases[:3] if a.v else []:
            print(f"    line {at}: {line[:80]}\n      peer: " + po.strip()[:300].replace("\n", "\n            ") + "\n      ours: " + o.strip()[:300].replace("\n", "\n            "))
    return 0 if total == agreed + explained else 1


if __name__ == "__main__":
    sys.exit(main())
