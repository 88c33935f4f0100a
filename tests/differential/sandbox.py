"""The machine that a configuration is tried on: network, mount and process namespaces of its own, an overlay over /, the interfaces
that the file names as veth pairs, a stub for every script path.  Root only.
"""
import os, re, shutil, subprocess
from mutate import bare

BASE = ["eth0", "eth1", "eth2", "ens33"]
INTERFACE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$")
NONE = {"lo", "...", ".", "..", "default", "all", "none", "weight", "reverse"}
# In bash, with the folder in $W: from here on $R is the root of the machine.
ROOM = r"""
set -e
ulimit -c 0
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad 2>/dev/null || true
ip link set lo up
ip -force -batch "$W/links" >/dev/null 2>&1 || true
mount -t tmpfs tmpfs "$W/ov"
mkdir -p "$W/ov/up" "$W/ov/wk" "$W/ov/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$W/ov/up",workdir="$W/ov/wk" "$W/ov/root"
R="$W/ov/root"
mount --rbind /proc "$R/proc"; mount --rbind /dev "$R/dev"
mount -t tmpfs tmpfs "$R/run"
"""
# Makes the scripts that the file names, where there are none.
STUBS = r"""
while read -r s; do
  case "$s" in *..*|'') continue;; esac
  [ -e "$R$s" ] && continue
  mkdir -p "$R$(dirname "$s")" 2>/dev/null && printf '#!/bin/sh\nexit 0\n' > "$R$s" && chmod 755 "$R$s" || true
done < "$W/stubs"
"""


def interfaces(text):
    defs, names, made, tracking = {}, [], set(), False
    for line in text.splitlines():
        line = bare(line)
        m = re.match(r"\s*(@\S+\s+)?\$(\w+)\s*=\s*(.*?)\s*$", line)
        # A line for another server counts for nothing; the last of the others does.
        if m and (not m.group(1) or m.group(1).startswith("@^") or m.group(2) not in defs): defs[m.group(2)] = m.group(3)
        for _ in range(3): line = re.sub(r"\$\{?(\w+)\}?", lambda m: defs.get(m.group(1), m.group(0)), line)
        w = [x.strip('"') for x in line.replace("{", " { ").replace("}", " } ").split()]
        if not w: continue
        if w[0] in ("interface", "default_interface", "lvs_sync_daemon_interface", "lvs_sync_daemon") and len(w) > 1: names.append(w[1])
        names += [w[i + 1] for i, x in enumerate(w[:-1]) if x in ("dev", "oif", "iif", "interface")]
        if w[0] in ("use_vmac", "use_ipvlan") and len(w) > 1: made.add(w[1])
        if w[0] == "track_interface": tracking, w = True, w[1:]
        for x in w if tracking else []:
            if x == "}": tracking = False
            elif x != "{" and not re.match(r"^-?\d+$", x): names.append(x)
    return [n for n in dict.fromkeys(BASE + names) if n not in made and n not in NONE and INTERFACE.match(n)]


def stubs(text):
    out = set()
    for line in text.splitlines():
        m = re.match(r"\s*(script|notify\w*|misc_path|\w*fifo_script|quorum_up|quorum_down|\w*shutdown_script|\w*startup_script)\s+(.*)", bare(line))
        if not m: continue
        first = re.split(r"[\s\"']", m.group(2).lstrip(" \"'{"))[0]
        if first.startswith("/") and not first.startswith(("/proc", "/dev", "/sys")): out.add(first.rstrip("/"))
        elif re.match(r"^[A-Za-z0-9_.-]+$", first) and not shutil.which(first): out.add("/usr/bin/" + first)
    return sorted(out)


def furnish(w, path, data):
    """Puts into the folder `w` what the machine is made of for the configuration `data` of the file `path`: its own files are to go to `w`/t."""
    os.makedirs(w + "/t"); os.makedirs(w + "/ov")
    for folder in (os.path.splitext(path)[0] + ".d", os.path.join(os.path.dirname(path), "inc")):
        if os.path.isdir(folder): shutil.copytree(folder, w + "/t" + ("/inc" if folder.endswith("/inc") else ""), dirs_exist_ok=True)
    open(w + "/links", "w").write("".join(
        f"link add name {n} type veth peer name p_{i}\nlink set dev p_{i} up\nlink set dev {n} up\naddr add 10.{200 + i // 250}.{i % 250 + 1}.1/24 dev {n}\n"
        for i, n in enumerate(interfaces(data))))
    open(w + "/stubs", "w").write("\n".join(stubs(data)) + "\n")


def enter(w, script, seconds, **variables):
    """Runs the bash script in the namespaces, for `seconds` at most."""
    subprocess.run(["timeout", str(seconds), "unshare", "-n", "-m", "-p", "-f", "--kill-child", "--mount-proc", "--propagation", "private", "bash", "-c", script],
                   env={**os.environ, "W": w, **variables}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
