#!/usr/bin/env python3
"""What two keepalived-compatible daemons make of the same configuration, as their dumps tell it.

  effect.py [--peer keepalived] [--ours target/debug/vipd] [--jobs N] [--sample N] [-v] FILE-or-FOLDER ...

Each file is run by both, one after the other, for as long as it takes to write a dump (SIGUSR1): `-n -l -P`, in network, mount
and process namespaces of its own, on an overlay over /, with the interfaces that the file names as veth pairs, its net_namespace and
a stub for every script path.  Compared is what the dump says of instances, groups and scripts: addresses, peers, priorities, timers,
trackers with their weights, programs that run.  States, times and what the two versions label otherwise are not compared.

A file that neither runs has the same effect if both end with the same code. Where keepalived ends by a signal there is nothing to compare
with; where vipd does, or panics, that is a difference whatever keepalived does. The same effect also has one in which neither finds anything of VRRP:
virtual servers are compared in tests/vm, since they need a kernel with IPVS.

The table tells each kind of difference with how many files have it; those of KNOWN with their reason (docs/differences.md).
Exit code 0 when nothing else is left, 1 otherwise, 77 without root, keepalived or namespaces.
"""
import argparse, collections, concurrent.futures, os, re, shutil, sys, tempfile
from sandbox import ROOM, STUBS, enter, furnish

SANDBOX = ROOM + r"""
mount -t tmpfs tmpfs "$R/tmp"; chmod 1777 "$R/tmp"
mkdir -p "$R/etc/keepalived"; cp -r "$W"/t/. "$R/etc/keepalived/"
""" + STUBS + r"""
mkdir -p "$R/run/netns"
while read -r n; do [ -n "$n" ] && touch "$R/run/netns/$n" && mount --bind /proc/self/ns/net "$R/run/netns/$n"; done < "$W/namespaces"
cp "$PROGRAM" "$R/program-under-test"; touch "$W/began"
cat > "$R/all" <<'END'
cd /etc/keepalived
timeout -k 1 60 /program-under-test -n -l -P -i one -f /etc/keepalived/keepalived.conf > /log 2>&1 < /dev/null & pid=$!
# On a busy machine a start takes its time; sixteen looks are for what comes after it.
looks=0
for i in $(seq 100); do
  [ $looks -lt 16 ] || break
  sleep 0.4
  kill -0 $pid 2>/dev/null || break
  grep -q 'no configuration to run' /log && { echo 'nothing of VRRP' > /dump; break; }
  f=$(ls /tmp/*.data 2>/dev/null | grep -v _parent | head -1)
  [ -n "$f" ] && grep -q 'Interfaces >---' "$f" && break
  # Before that there may be a dump, and nothing in it yet.
  grep -q 'Startup complete' /log || continue
  looks=$((looks + 1))
  child=$(cat /run/keepalived.pid /run/keepalived/keepalived*.pid /proc/$pid/root/run/keepalived/keepalived*.pid 2>/dev/null | head -1)
  [ -n "$child" ] || child=$(pgrep -o program-under)
  [ -n "$child" ] && kill -USR1 $child 2>/dev/null
done
# A dump that was asked for once more may just be written: only a whole one counts.
for i in 1 2 3 4 5 6 7 8 9 10; do
  sleep 0.2
  cat $(ls /tmp/*.data 2>/dev/null | grep -v _parent) /dev/null > /whole
  grep -q 'Interfaces >---' /whole && break
  kill -0 $pid 2>/dev/null || break
done
cat /whole >> /dump
kill $pid 2>/dev/null; wait $pid; echo $? > /code
END
chroot "$R" /bin/sh /all >/dev/null 2>&1 || true
cp "$R/dump" "$R/log" "$R/code" "$W/" 2>/dev/null || true
"""
# Labels that are compared: of an instance, a group, a script. What the two versions write otherwise is brought to one form first.
FACTS = """VRRP Version|Interface|Using src_ip|Multicast address|Gratuitous ARP delay|Gratuitous ARP repeat|Gratuitous ARP refresh|
Gratuitous ARP refresh repeat|Gratuitous ARP lower priority delay|Gratuitous ARP lower priority repeat|Down timer adverts|
Send advert after receive lower priority advert|Send advert after receive higher priority advert|Virtual Router ID|Priority|
Advert interval|Accept|Preempt|Preempt delay|Promote_secondaries|Authentication type|Check unicast src|Unicast TTL|Virtual IP|Virtual IP Excluded|
Unicast Peer|Virtual Routes|Virtual Rules|Tracked interfaces|Tracked scripts|Tracked files|Tracked processes|Tracked BFDs|
Using smtp notification|Backup state transition script|Master state transition script|Fault state transition script|
Stop state transition script|Deleted state transition script|Generic state transition script|Master rx lower pri state transition script|
VRRP member instances|Command|Interval|Timeout|Weight|Rise|Fall|Process|Min processes|File|Use VMAC|Use IPVLAN""".replace("\n", "").split("|")
BEGINS = re.compile(r"^ (VRRP Instance|VRRP Sync Group|VRRP Script|VRRP Track process|Track file|VRRP Track file) = ([^,]*)")
# What keepalived says where it does not live: nothing can be compared.
CRASHES = [("died: Respawning", "keepalived's VRRP process crashes"), ("Bad magic", "keepalived crashes")]
# (what the difference is about: the first cell of a row of docs/differences.md, label, sign in "peer -> ours")
KNOWN = [
    ("a program's path that leads through links", "Command", r"killall5"),
    ("what a sync group tracks", "VRRP Sync Group: Tracked processes", r"^ -> "),
    ("a route without an interface", "Virtual Routes", r"no_track"),
    ("the same address or peer twice", "Unicast Peer", r""),
    ("a `track_file` in a directory that is not there", "Track file is missing", r""),
    ("a `track_file` in a directory that is not there", "Tracked files", r" -> $"),
    ("a command that goes through the shell", "Command", r"^(<.*) -> '\1'$"),
    ("`vrrp_check_unicast_src` in `global_defs`", "Check unicast src", r"^no -> yes$"),
    ("`vrrp_min_garp`", "Gratuitous ARP refresh repeat", r"^0 -> 1$"),
    ("a delay that is no number", "Gratuitous ARP delay", r"^0 -> 5$"),
    ("time-out of a script that has none", "Timeout", r"^0 sec -> "),
    ("a `track_file` that nobody tracks", "Track file is new", r""),
    ("`net_namespace` that does not exist", "code at the end of a file that neither runs", r"^0 -> [12]$"),
    ("a definition that leads back to itself", "code at the end of a file that neither runs", r"^(124|137) -> 2$"),
    ("an address that has a VMAC of its own", "Virtual IP", r"use_vmac"),
    ("an address that has a VMAC of its own", "Virtual IP Excluded", r"use_vmac"),
    ("a VMAC whose interface is not there yet", "Interface", r"^vrrp.* -> \$"),
    ("a VMAC whose interface is not there yet", "Interface", r"^(vrrp\S*) -> (?!vrrp)\S+, xmit base i/f$"),
    ("a VMAC whose interface is not there yet", "Virtual IP", r"@\$IF"),
]


def real(text):
    """Paths by what links lead to, as 2.2.7 writes those of programs."""
    path = lambda m: "'" + (os.path.realpath(m.group(1)) if os.path.exists(m.group(1)) else re.sub(r"^/(s?bin|lib)/", r"/usr/\1/", m.group(1))) + "'"
    return re.sub(r"'(/[^']*)'", path, text)


def facts(dump):
    """{(kind, name): {label: [values]}}"""
    found, item, label = {}, None, None
    for line in dump.splitlines():
        if line.startswith("------<"): item = label = None; continue
        begin = BEGINS.match(line)
        if begin:
            item = found.setdefault((begin.group(1).replace("VRRP Track file", "Track file"), begin.group(2).strip()), {})
            label = None
            continue
        if item is None: continue
        depth = len(line) - len(line.lstrip(" "))
        text = line.strip()
        if depth <= 1: item = None; continue
        if depth <= 3:
            label = next((f for f in FACTS if text == f or re.match(re.escape(f) + r"( \(\d+\))?( ?[=:]| \S)", text)), None)
            exact = re.split(r" ?[=:] ?| \(\d+\)", text)[0]
            if label and exact in FACTS: label = exact
            value = re.split(r" ?= ?", text, maxsplit=1)[1] if "=" in text else ""
            if label == "Multicast address": value = (re.findall(r"[0-9a-f:.]*[:.][0-9a-f:.]+", text) or [""])[-1]
            # Whether the kernel has an address yet, and the link that is made at that moment.
            if label == "Interface": value = re.sub(r".*\b(vmac|ipvlan) on ", "", value)
            # With the MAC address of the moment.
            if label == "Using src_ip" and value.startswith("fe80:"): value = "link-local"
            if label == "Check unicast src": value = text.split(":")[-1].strip()
            if label: item.setdefault(label, []).extend([real(value)] if value else [])
        elif label: item[label].append(real(text))
    for labels in found.values():
        for name, values in labels.items():
            values[:] = [re.sub(r"\b0\.0\.0\.0/0|(?<![\w:])::/0", "default", v) for v in values]
            values[:] = [re.sub(r"0 usecs| set\b|\(from configuration\)|\bpreferred_lft forever\b|uid:gid \S+|\s+", " ", v).strip() for v in values]
            if name.startswith("Tracked"): values.sort()
    return found


def interesting(found):
    return {key: {label: tuple(v) for label, v in labels.items() if v} for key, labels in found.items()}


def run(path, program):
    """(dump, log) of a program with a file; None where there are no namespaces."""
    data = open(path, encoding="latin-1", newline="").read()
    w = tempfile.mkdtemp(prefix="effect-")
    try:
        furnish(w, path, data)
        open(w + "/t/keepalived.conf", "w", encoding="latin-1", newline="").write(data)
        open(w + "/namespaces", "w").write("\n".join(dict.fromkeys(re.findall(r"(?m)^\s*(?:@\S+\s+)?net_namespace\s+([\w.-]+)", data))) + "\n")
        enter(w, SANDBOX, 120, PROGRAM=program)
        if not os.path.exists(w + "/began"): return None
        read = lambda name: open(f"{w}/{name}", errors="replace").read() if os.path.exists(f"{w}/{name}") else ""
        return read("dump"), read("log"), read("code").strip()
    finally:
        shutil.rmtree(w, ignore_errors=True)


def by_signal(code):
    """Whether it ended by a signal; `timeout -k` ends with 137 itself where a program hangs."""
    return code.isdigit() and int(code) > 128 and code != "137"


def compare(path, peer, ours):
    """[(kind of difference, where, peer's, ours)]; None where nothing could be run."""
    one, other = run(path, peer), run(path, ours)
    if one is None or other is None: return None
    # 143 is the sandbox's own kill.
    if other[2] == "101" or by_signal(other[2]) and other[2] != "143":
        return [("vipd crashes", other[1][-200:].replace("\n", " "), f"code {one[2]}", f"code {other[2]}")]
    for sign, what in CRASHES:
        if sign in one[1]: return what
    if not one[0] and not other[0]:
        if one[2] == other[2]: return []
        if by_signal(one[2]) and not by_signal(other[2]): return f"cannot be compared: keepalived ends by signal {int(one[2]) - 128}"
        return [("code at the end of a file that neither runs", one[1][-200:].replace("\n", " "), one[2], other[2])]
    if not one[0] and one[2] == "0": return "peer has nothing of VRRP to run, and wrote no dump"
    if not one[0]: return "peer gave no dump (code " + one[2] + ")"
    if not other[0]: return [("vipd gave no dump", "", one[2], other[2] + " " + other[1][-300:])]
    theirs, own = interesting(facts(one[0])), interesting(facts(other[0]))
    found = []
    for key in sorted(set(theirs) | set(own)):
        if key not in own: found.append((f"{key[0]} is missing", key[1], "there", "")); continue
        if key not in theirs: found.append((f"{key[0]} is new", key[1], "", "there")); continue
        for label in FACTS:
            a, b = theirs[key].get(label, ()), own[key].get(label, ())
            if a != b: found.append((f"{key[0]}: {label}", key[1], " ; ".join(a), " ; ".join(b)))
    return found


def known(kind, theirs, ours, where=""):
    label = kind.split(": ")[-1]
    # 2.2.7 takes an address twice; 2.4.3 and vipd do not.
    lines = lambda text: [line for line in text.split(" ; ") if line]
    address = lambda line: re.split(r"[/ ]", line)[0]
    if label == "Virtual IP" and list(dict.fromkeys(map(address, lines(theirs)))) == list(map(address, lines(ours))): return "the same address or peer twice"
    if label == "Virtual IP Excluded" and set(lines(ours)) < set(lines(theirs)): return "the same address or peer twice"
    # What is drawn by lot, by ${_RANDOM}.
    if re.sub(r"\bvrrp\.\d+|^\d+$", "", theirs) == re.sub(r"\bvrrp\.\d+|^\d+$", "", ours) and "random" in where: return "(a number by lot)"
    for reason, about, sign in KNOWN:
        if about in ("", label, kind) and re.search(sign, f"{theirs} -> {ours}"): return reason
    return None


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--peer", default="keepalived"); a.add_argument("--ours", default="target/debug/vipd")
    a.add_argument("--jobs", type=int, default=4); a.add_argument("-v", action="store_true")
    a.add_argument("--sample", type=int, help="so many of the files, spread over them all")
    a.add_argument("files", nargs="+"); a = a.parse_args()
    peer, ours = shutil.which(a.peer), os.path.abspath(a.ours)
    if os.geteuid() or not peer or not os.path.exists(ours): print("skipped: needs root, keepalived and a built vipd"); return 77
    files = []
    called = lambda f: os.path.basename(f) if os.path.basename(f) != "keepalived.conf" else os.path.basename(os.path.dirname(f))
    for f in a.files: files += sorted(os.path.join(f, x) for x in os.listdir(f) if os.path.isfile(os.path.join(f, x)) and not x.endswith((".tsv", ".py", ".sh", ".md", ".txt"))) if os.path.isdir(f) else [f]
    if a.sample and len(files) > a.sample: files = [files[i * len(files) // a.sample] for i in range(a.sample)]
    alike, nearly = 0, 0
    kinds, reasons, silent = collections.defaultdict(list), collections.Counter(), collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        for f, found in zip(files, pool.map(lambda f: compare(f, peer, ours), files)):
            if found is None: print("skipped: no namespaces or no overlayfs"); return 77
            if isinstance(found, str):
                silent[found] += 1
                if a.v: print(f"{called(f)}: {found}")
                continue
            alike += not found
            nearly += bool(found) and all(known(kind, theirs, own, f) for kind, _, theirs, own in found)
            for kind, where, theirs, own in found:
                reason = known(kind, theirs, own, f)
                if reason: reasons[reason] += 1
                else: kinds[kind].append((called(f), where, theirs, own))
    print(f"{len(files)} files: {alike} have the same effect, {nearly} but for what is known" + "".join(f", {n} {what}" for what, n in silent.items()))
    for reason, n in reasons.most_common(): print(f"  {n:5}  known: {reason}")
    for kind, cases in sorted(kinds.items(), key=lambda item: -len(item[1])):
        print(f"{len({c[0] for c in cases}):5} files  {kind}")
        for f, where, theirs, own in cases if a.v else cases[:3]: print(f"         {f} {where}: {theirs[:150]}  ->  {own[:150]}")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
