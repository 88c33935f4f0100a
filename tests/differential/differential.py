#!/usr/bin/env python3
"""Mutated configurations, judged by keepalived and by vipd.

  differential.py [--peer keepalived] [--ours target/debug/vipd] [--count N] [--seed N] [--out FOLDER] [-v] FILE-or-FOLDER ...

From each file `count` mutants are made (mutate.py; 0 is the file as it is), and both programs run `-t` over all of them
in one sandbox a file: fresh network, mount and process namespaces, an overlay over /, the interfaces that the file names as veth
pairs, a stub for every script path.  Root only; without root, keepalived or overlayfs the test is skipped (exit code 77).

A mutant agrees when the exit codes are equal and vipd names every line that keepalived complains about.  What is known to
differ between keepalived 2.2.7 and 2.4.3, or by intention (docs/differences.md), is counted under its reason in KNOWN, and
where the peer hangs or dies of a signal nothing is compared.  The rest is sorted by kind and by keepalived's words;
the mutants themselves are kept in FOLDER.

`single` counts the mutants of a clean file about which vipd has more than one complaint: one slip, one complaint.
"""
import argparse, collections, json, os, random, re, shutil, sys, tempfile
from mutate import mutants
from sandbox import ROOM, STUBS, enter, furnish

SANDBOX = ROOM + r"""
mkdir -p "$R$W/t"; mount --bind "$W/t" "$R$W/t"
""" + STUBS + r"""
cp "$OURS" "$R/vipd-under-test" 2>/dev/null; touch "$W/began"
cat > "$R/all" <<'END'
cd $W/t
for f in *.keepalived.conf; do
  timeout -k 1 4 $PEER -t -i one -f $W/t/$f > peer.$f.out 2>&1 < /dev/null; echo $? > peer.$f.rc
  timeout -k 1 10 /vipd-under-test -t -i one -f $W/t/$f > ours.$f.out 2>&1 < /dev/null; echo $? > ours.$f.rc
done
END
chroot "$R" /bin/sh /all >/dev/null 2>&1
"""
# Why the two differ: the reason, where its sign is (an output, or text and peer's output with a NUL between), the sign, and whether it explains another exit code
# as well as lines that are not named.
KNOWN = [
    ("net_namespace is not there: keepalived ends with 0 before it reads on", "both", r"(?ms)^\s*(@\S+\s+)?net_namespace\s.*\0\s*\Z", True),
    ("2.2.7: a route without an interface cannot be watched", "peer", r"cannot track route", True),
    ("2.2.7: the same address twice in a list is taken", "ours", r"is listed twice; this one is left out", True),
    ("2.2.7: a comment that ends in a backslash leaves the backslash", "peer", r"Unknown keyword '\\'", True),
    ("a template that nobody has filled in is one mistake", "ours", r"a template that nobody has filled in", False),
    ("a quoted empty word is no number and no name", "ours", r"cannot be ``", True),
    ("keepalived's first pass counts the line of an unknown keyword at the end of a file one too low", "peer",
     r"\(Line \d+\) Unknown keyword (.*)\n(?:.*\n)*\(\S+: Line \d+\) Unknown keyword \1", False),
    ("keepalived counts the line of an over-long, NUL, include or sequence line one too low", "peer",
     r"line too long|embedded NULs|Config files? missing|Invalid ~SEQ", False),
    ("braces: keepalived's first pass complains of every line after the one mistake", "peer",
     r"Missing '\{'|Extra '\}' found|Unexpected '\{'|missing '\}'s or extra", False),
]


def run(path, texts, peer, ours):
    """[(peer's code and output, ours)] for each of the texts that come from one file."""
    data = open(path, encoding="latin-1", newline="").read()
    w = tempfile.mkdtemp(prefix="differential-")
    try:
        furnish(w, path, data)
        for n, text in enumerate(texts): open(f"{w}/t/{n:05}.keepalived.conf", "w", encoding="latin-1", newline="").write(text)
        enter(w, SANDBOX, 60 + 15 * len(texts), PEER=peer, OURS=ours)
        if not os.path.exists(w + "/began"): return None
        results = []
        for n in range(len(texts)):
            pair = []
            for who in ("peer", "ours"):
                name = f"{w}/t/{who}.{n:05}.keepalived.conf"
                try: pair.append((int(open(name + ".rc").read()), open(name + ".out", errors="replace").read().replace(w + "/t/", "").replace(f"{n:05}.keepalived", "keepalived")))
                except (OSError, ValueError): pair.append((-1, "not run"))
            results.append(pair)
        return results
    finally:
        shutil.rmtree(w, ignore_errors=True)


def named(output):
    return {int(n) for n in re.findall(r"(?:[Ll]ine |keepalived\.conf:)\s*(\d+)", output)}


def complaints(output):
    return [line for line in output.splitlines() if re.search(r": (error|warning): ", line)]


def cause(output, lines):
    """keepalived's words without names and numbers: what disagreements are sorted by."""
    said = [l for l in output.splitlines() if not lines or any(re.search(rf"[Ll]ine {n}\b", l) for n in lines)]
    said = said[0] if said else (output.strip().splitlines() or [""])[-1]
    said = re.sub(r"^\w{3} .*?: (?=\()|^\(.*?\)\s*", "", said)
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d[\w.:/]*", "_", said)[:110]


def known(text, peer, ours, same_code):
    for reason, where, pattern, codes_too in KNOWN:
        if (codes_too or same_code) and re.search(pattern, {"peer": peer, "ours": ours, "both": text + "\0" + peer}[where]): return reason
    return None


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--peer", default="keepalived"); a.add_argument("--ours", default="target/debug/vipd"); a.add_argument("--out")
    a.add_argument("--count", type=int, default=20); a.add_argument("--seed", type=int, default=1); a.add_argument("-v", action="store_true")
    a.add_argument("files", nargs="+"); a = a.parse_args()
    peer, ours = shutil.which(a.peer), os.path.abspath(a.ours)
    if os.geteuid() or not peer or not os.path.exists(ours): print("skipped: needs root, keepalived and a built vipd"); return 77
    files = []
    for f in a.files: files += sorted(os.path.join(f, x) for x in os.listdir(f) if os.path.isfile(os.path.join(f, x)) and not x.endswith((".tsv", ".py", ".sh", ".md"))) if os.path.isdir(f) else [f]
    total = codes = both = broken = single = clean = 0
    reasons, causes = collections.Counter(), collections.defaultdict(list)
    if a.out: os.makedirs(a.out, exist_ok=True)
    for f in files:
        text = open(f, encoding="latin-1", newline="").read()
        made = mutants(text, random.Random(f"{a.seed} {os.path.basename(f)}"), a.count) if a.count else []
        results = run(f, [text] + [m for _, m, _ in made], peer, ours)
        if results is None: print("skipped: no namespaces or no overlayfs"); return 77
        untouched = not complaints(results[0][1][1])
        for n, ((pr, po), (r, o)) in enumerate(results):
            kind, mutant, at = made[n - 1] if n else ("as it is", text, 0)
            if r >= 124 or r < 0 or r == 101: pass
            elif pr >= 124 or pr < 0: broken += 1; continue
            total += 1
            if n and untouched and r == 5 and pr == 5:
                clean += 1
                if len(complaints(o)) > 1:
                    single += 1; causes[("several complaints", kind, complaints(o)[1].split(": ", 2)[-1][:60])].append((f, at, pr, r, n, mutant, po, o))
            missing = named(po) - named(o)
            if pr == r: codes += 1
            if pr == r and not missing: both += 1; continue
            reason = known(mutant, po, o, pr == r)
            if reason: reasons[reason] += 1; continue
            what = f"exit {pr}, ours {r}" if pr != r else "line not named"
            causes[(what, kind if not n else "", cause(po, missing))].append((f, at, pr, r, n, mutant, po, o))
    print(f"{total} compared, {broken} that the peer did not survive; exit codes {codes} ({100 * codes / max(total, 1):.2f}%), with lines {both} ({100 * both / max(total, 1):.2f}%)")
    explained = sum(reasons.values())
    print(f"{total - both - explained} unexplained; agreement apart from known differences {100 * (both + explained) / max(total, 1):.2f}%; single: {single} of {clean} slips with more than one complaint")
    for reason, n in reasons.most_common(): print(f"  {n:5}  known: {reason}")
    for key, cases in sorted(causes.items(), key=lambda item: -len(item[1])):
        f, at, pr, r, n, mutant, po, o = cases[0]
        print(f"{len(cases):5}  {' | '.join(key)}   {os.path.basename(f)}#{n} line {at}")
        if a.v: print("    peer: " + po.strip()[:700].replace("\n", "\n          ") + "\n    ours: " + o.strip()[:700].replace("\n", "\n          "))
        for f, at, pr, r, n, mutant, po, o in cases if a.out else []:
            name = os.path.join(a.out, f"{os.path.basename(f)}.{n}")
            open(name + ".conf", "w", encoding="latin-1", newline="").write(mutant)
            json.dump({"key": key, "line": at, "peer": [pr, po], "ours": [r, o]}, open(name + ".json", "w"), indent=1)
    return 0 if total == both + explained else 1


if __name__ == "__main__":
    sys.exit(main())
