"""Mistakes that people make in a keepalived.conf, one at a time.

`mutants(text, random, count)` gives texts that each differ from `text` by one slip: a lost brace, a number out of its
range, a keyword in the wrong block.  Every kind is a function of the lines and a random source, and answers the new
lines or None when there is nothing to do it to.  Which keyword belongs where comes from tests/data/keywords.txt.
"""
import os, re

HERE = os.path.dirname(os.path.abspath(__file__))
NUMBERS = ["0", "-1", "1", "2", "3", "254", "255", "256", "65535", "65536", "4294967296", "99999999999", "1.5", "0.001", "abc", "0x10",
           "010", "12x", '""', "+5", "1e3", "1,5", "5s", "100%", "--", "on"]
WORDS = ["eth0", "nosuch0", "MASTER", "BACKUP", "yes", "no", "true", "off", "maybe", "10.9.8.7", "10.9.8.7/24", "10.9.8.7/33", "fe80::1",
         "2001:db8::1/64", "2001:db8::1/129", "300.1.1.1", "root", "/bin/true", "/nosuch/script", '"/bin/true a b"', "any", "all", "TCP", "UDP",
         "80", "weight", "reverse", "dev", "0", "5", "-5", "255", "256", "70000", "VI_1", "name", "{", "}", "1.2.3", "::", "link", "global"]
ADDRESS4 = re.compile(r"(?<![\w.:])(\d{1,3}(?:\.\d{1,3}){3})(/\d+)?(?![\w.])")
ADDRESS6 = re.compile(r"(?<![\w.:])([0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7})(/\d+)?(?![\w.:])")
NUMBER = re.compile(r"(?<![\w.:/\"$-])-?\d+(?:\.\d+)?(?![\w.:/])")


def keywords():
    blocks = {}
    with open(os.path.join(HERE, "..", "data", "keywords.txt"), encoding="utf8") as lines:
        for line in lines:
            block, keyword = line.rstrip("\n").split("\t")
            blocks.setdefault("" if block == "(top)" else block, []).append(keyword)
    return blocks


KEYWORDS = keywords()
EVERY = sorted({k for names in KEYWORDS.values() for k in names})


def bare(line):
    """The line without its comment."""
    out, quoted = "", False
    for c in line:
        if c == '"': quoted = not quoted
        if c in "#!" and not quoted: break
        out += c
    return out


def paths(lines):
    """For each line the path of the block it stands in, as tests/data/keywords.txt spells it."""
    stack, out, last = [], [], ""
    for line in lines:
        out.append("/".join(stack))
        for piece in re.findall(r"[{}]|[^{}]+", bare(line)):
            if piece == "{": stack.append(last)
            elif piece == "}":
                if stack: stack.pop()
            elif piece.split(): last = piece.split()[0]
    return out


def blocks(lines):
    """First and last line of each block at the top level."""
    depth, start, found = 0, None, []
    for at, line in enumerate(lines):
        text = bare(line)
        if depth == 0 and text.strip() and start is None: start = at
        depth += text.count("{") - text.count("}")
        if depth <= 0:
            if "}" in text and start is not None: found.append((start, at))
            if text.strip(): start = None if "{" not in text or "}" in text else start
            depth = 0
    return found


def some(r, lines, fits=lambda text: text.strip()):
    found = [at for at, line in enumerate(lines) if fits(bare(line))]
    return r.choice(found) if found else None


def edit(lines, at, new):
    return lines[:at] + (new if isinstance(new, list) else [new]) + lines[at + 1:]


def drop_line(r, lines):
    at = some(r, lines)
    return None if at is None else edit(lines, at, [])


def duplicate_line(r, lines):
    at = some(r, lines)
    return None if at is None else edit(lines, at, [lines[at], lines[at]])


def lose(sign):
    def change(r, lines):
        at = some(r, lines, lambda text: sign in text)
        return None if at is None else edit(lines, at, lines[at].replace(sign, "", 1))
    change.__name__ = "drop_" + ("open" if sign == "{" else "close")
    return change


def surplus(sign):
    def change(r, lines):
        at = r.randrange(len(lines) + 1)
        return lines[:at] + [sign] + lines[at:]
    change.__name__ = "add_" + ("open" if sign == "{" else "close")
    return change


def number(r, lines):
    at = some(r, lines, lambda text: NUMBER.search(text))
    if at is None: return None
    place = r.choice([m for m in NUMBER.finditer(bare(lines[at]))])
    return edit(lines, at, lines[at][:place.start()] + r.choice(NUMBERS) + lines[at][place.end():])


def slip(r, word):
    if len(word) < 2: return word + "x"
    at = r.randrange(len(word) - 1)
    return r.choice([word[:at] + word[at + 1] + word[at] + word[at + 2:], word[:at] + word[at + 1:], word[:at] + word[at] + word[at:],
                     word.upper() if word != word.upper() else word.lower(), word.replace("_", "-", 1) if "_" in word else word + "s"])


def misspell(r, lines):
    at = some(r, lines, lambda text: re.match(r"\s*\w", text))
    if at is None: return None
    return edit(lines, at, re.sub(r"[\w.-]+", lambda m: slip(r, m.group()), lines[at], count=1))


def misspell_argument(r, lines):
    at = some(r, lines, lambda text: len(text.split()) > 1)
    if at is None: return None
    found = list(re.finditer(r"[\w./:-]+", bare(lines[at])))[1:]
    if not found: return None
    place = r.choice(found)
    return edit(lines, at, lines[at][:place.start()] + slip(r, place.group()) + lines[at][place.end():])


def swap_lines(r, lines):
    if len(lines) < 2: return None
    at = r.randrange(len(lines) - 1)
    return lines[:at] + [lines[at + 1], lines[at]] + lines[at + 2:]


def swap_blocks(r, lines):
    found = blocks(lines)
    if len(found) < 2: return None
    (a, b), (c, d) = sorted(r.sample(found, 2))
    return lines[:a] + lines[c:d + 1] + lines[b + 1:c] + lines[a:b + 1] + lines[d + 1:]


def drop_block(r, lines):
    found = blocks(lines)
    if not found: return None
    a, b = r.choice(found)
    return lines[:a] + lines[b + 1:]


def duplicate_block(r, lines):
    found = blocks(lines)
    if not found: return None
    a, b = r.choice(found)
    return lines[:b + 1] + lines[a:b + 1] + lines[b + 1:]


def move_line(r, lines):
    at = some(r, lines, lambda text: text.strip() and "{" not in text and "}" not in text)
    if at is None: return None
    rest = edit(lines, at, [])
    to = r.randrange(len(rest) + 1)
    return rest[:to] + [lines[at]] + rest[to:]


def change_family(r, lines):
    at = some(r, lines, lambda text: ADDRESS4.search(text) or ADDRESS6.search(text))
    if at is None: return None
    if ADDRESS4.search(lines[at]):
        return edit(lines, at, ADDRESS4.sub(lambda m: "2001:db8::%x%s" % (r.randrange(1, 999), "/64" if m.group(2) else ""), lines[at], count=1))
    return edit(lines, at, ADDRESS6.sub(lambda m: "10.7.7.%d%s" % (r.randrange(1, 250), "/24" if m.group(2) else ""), lines[at], count=1))


def add_word(r, lines):
    at = some(r, lines)
    if at is None: return None
    text = bare(lines[at]).rstrip()
    cut = text.find("{") if "{" in text and r.random() < 0.7 else len(text)
    return edit(lines, at, text[:cut] + " " + r.choice(WORDS) + " " + text[cut:])


def remove_word(r, lines):
    at = some(r, lines, lambda text: len(text.split()) > 1)
    if at is None: return None
    places = list(re.finditer(r"\S+", bare(lines[at])))[1:]
    place = r.choice(places)
    return edit(lines, at, lines[at][:place.start()] + lines[at][place.end():])


def other_word(r, lines):
    at = some(r, lines, lambda text: len(text.split()) > 1)
    if at is None: return None
    place = r.choice([m for m in re.finditer(r"[^\s{}]+", bare(lines[at]))][1:] or [None])
    return place and edit(lines, at, lines[at][:place.start()] + r.choice(WORDS) + lines[at][place.end():])


def comment(r, lines):
    at = some(r, lines)
    if at is None: return None
    to = r.randrange(len(lines[at]) + 1)
    return edit(lines, at, lines[at][:to] + r.choice(["#", "!", " # note", " ! note", "//", ";"]) + lines[at][to:])


def indentation(r, lines):
    return [r.choice(["", " ", "\t", "  \t ", "        "]) + line.strip() + r.choice(["", " ", "\t"]) for line in lines]


def include(r, lines):
    at = r.randrange(len(lines) + 1)
    name = r.choice(["nosuch.conf", "/nosuch/*.conf", "nosuch/*.conf", "/etc/keepalived/conf.d/*.conf", "{a,b}.conf", '"nosuch.conf"'])
    return lines[:at] + [r.choice(["include ", "includer ", "includem ", "includew ", "includeb ", "includea ", "Include "]) + name] + lines[at:]


def quote_word(r, lines):
    at = some(r, lines, lambda text: len(text.split()) > 1)
    if at is None: return None
    place = r.choice([m for m in re.finditer(r"[^\s{}\"]+", bare(lines[at]))] or [None])
    if place is None: return None
    sign = r.choice(['"', "'"])
    return edit(lines, at, lines[at][:place.start()] + sign + place.group() + sign + lines[at][place.end():])


def odd_quote(r, lines):
    at = some(r, lines)
    if at is None: return None
    to = r.randrange(len(lines[at]) + 1)
    return edit(lines, at, lines[at][:to] + r.choice('""\'') + lines[at][to:])


def tabs(r, lines):
    return [re.sub(r" +", "\t", line) for line in lines]


def carriage_returns(r, lines):
    return [line + "\r" for line in lines]


def join_lines(r, lines):
    if len(lines) < 2: return None
    at = r.randrange(len(lines) - 1)
    return lines[:at] + [bare(lines[at]) + " " + lines[at + 1].strip()] + lines[at + 2:]


def split_line(r, lines):
    at = some(r, lines, lambda text: len(text.split()) > 1)
    if at is None: return None
    place = r.choice(list(re.finditer(r"\s+", lines[at].strip())) or [None])
    return place and edit(lines, at, [lines[at].strip()[:place.start()], lines[at].strip()[place.end():]])


def define(r, lines):
    at = some(r, lines, lambda text: len(text.split()) > 1 and "$" not in text)
    if at is None: return None
    places = [m for m in re.finditer(r"[^\s{}]+", bare(lines[at]))][1:]
    if not places: return None
    place = r.choice(places)
    use = r.choice(["$VALUE", "${VALUE}", "$OTHER", "${OTHER}"])
    return [r.choice(["$VALUE=", "$VALUE = ", "  $VALUE="]) + place.group()] + edit(lines, at, lines[at][:place.start()] + use + lines[at][place.end():])


def condition(r, lines):
    at = some(r, lines)
    return None if at is None else edit(lines, at, r.choice(["@one ", "@^one ", "@", "@one"]) + lines[at].strip())


def insert_keyword(r, lines):
    where = paths(lines)
    fits = [at for at, path in enumerate(where) if path in KEYWORDS]
    if not fits: return None
    at = r.choice(fits)
    keyword = r.choice(KEYWORDS[where[at]]) if r.random() < 0.8 else r.choice(EVERY)
    words = [r.choice(WORDS + NUMBERS) for _ in range(r.choice([0, 1, 1, 1, 2, 3]))]
    return lines[:at] + [" ".join(["    " + keyword] + words)] + lines[at:]


def keyword_elsewhere(r, lines):
    """A whole line of this file, in another block."""
    at, to = some(r, lines, lambda text: text.strip() and not re.search(r"[{}]", text)), r.randrange(len(lines) + 1)
    return None if at is None else lines[:to] + [lines[at]] + lines[to:]


def same_name(r, lines):
    """The name, VRID or address of another line with the same keyword."""
    at = some(r, lines, lambda text: len(text.split()) > 1)
    if at is None: return None
    words = bare(lines[at]).split()
    others = [bare(l).split()[1] for l in lines if len(bare(l).split()) > 1 and bare(l).split()[0] == words[0] and bare(l).split()[1] != words[1]]
    if not others: return None
    return edit(lines, at, lines[at].replace(words[1], r.choice(others), 1))


KINDS = [drop_line, drop_line, duplicate_line, lose("{"), lose("}"), surplus("{"), surplus("}"), number, number, number, misspell, misspell,
         misspell_argument, misspell_argument, swap_lines, swap_blocks, drop_block, drop_block, duplicate_block, move_line, change_family,
         change_family, add_word, remove_word, remove_word, other_word, other_word, comment, indentation, include, quote_word, odd_quote, tabs,
         carriage_returns, join_lines, split_line, define, condition, insert_keyword, insert_keyword, insert_keyword, keyword_elsewhere, same_name,
         same_name]


def mutants(text, r, count):
    """(kind, text, first line that differs) of `count` mutants."""
    lines, seen, out = text.split("\n"), {text}, []
    for _ in range(count * 10):
        if len(out) == count: break
        kind = r.choice(KINDS)
        new = kind(r, list(lines))
        if new is None or "\n".join(new) in seen: continue
        seen.add("\n".join(new))
        at = next((n for n, (a, b) in enumerate(zip(lines, new)) if a != b), min(len(lines), len(new)))
        out.append((kind.__name__, "\n".join(new), at + 1))
    return out
