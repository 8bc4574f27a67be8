"""The little grammar that the fact files are written in.

A fact file is a list of entries separated by blank lines. An entry begins
with `topic NAME`; every other line is a one- or two-letter key, a space and a
pattern:

    q   a whole question
    h   what somebody wants to do, as an infinitive: "change the port"
    k   a noun phrase that names the subject: "the port"
    s   a noun phrase that one asks support for; s+ prefixes the answer with
        "Yes." and s- with "No."
    a   the answer (several lines: one is drawn)
    t   what the guide thinks before it answers, where thinking is on
    w   the entry's weight (1 where absent); it is drawn by the square root

Answers and thoughts are plain text with slots; the rest are patterns. In a
pattern, one|two and [one|two|] draw an alternative (brackets nest), <name> is a
macro from forms.txt and {slot} is filled from the conversation's slots, the
same value in question, thought and answer. Lines that begin with # are
comments.
"""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

FACTS = Path(__file__).parent / "facts"


def parse(text):
    """Parse a pattern into nested lists: a list is a sequence of strings and
    alternatives, an alternative is a tuple of lists."""
    pos = 0

    def seq(stop):
        nonlocal pos
        out, start = [], pos
        while pos < len(text) and text[pos] not in stop:
            if text[pos] == "[":
                out.append(text[start:pos])
                pos += 1
                alts = [seq("|]")]
                while pos < len(text) and text[pos] == "|":
                    pos += 1
                    alts.append(seq("|]"))
                if pos >= len(text):
                    raise ValueError(f"unclosed [ in {text!r}")
                pos += 1
                out.append(tuple(alts))
                start = pos
            else:
                pos += 1
        out.append(text[start:pos])
        return [part for part in out if part != ""]

    tree = seq("")
    if pos != len(text):
        raise ValueError(f"stray bracket in {text!r}")
    return tree


def draw(tree, rng):
    """One random expansion of a parsed pattern, spaces tidied."""
    out = []

    def walk(node):
        for part in node:
            if isinstance(part, str):
                out.append(part)
            else:
                walk(part[int(rng.random() * len(part))])

    walk(tree)
    return re.sub(r" +", " ", "".join(out)).strip()


class Forms:
    """The macros of forms.txt: `name = a|b|c`, usable in later lines."""

    def __init__(self, path=FACTS / "forms.txt"):
        self.macros = {}
        for line in path.read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                name, _, body = line.partition(" = ")
                self.macros[name.strip()] = "[" + self.expand(body.strip()) + "]"

    def expand(self, text):
        return re.sub(r"<([a-z_0-9]+)>", lambda m: self.macros[m[1]], text)

    def pattern(self, text):
        return parse(self.expand(text))


@dataclass
class Entry:
    topic: str
    q: list = field(default_factory=list)
    h: list = field(default_factory=list)
    k: list = field(default_factory=list)
    s: list = field(default_factory=list)  # (prefix, pattern)
    a: list = field(default_factory=list)
    t: list = field(default_factory=list)
    w: float = 1.0


def load(path, forms):
    """Read one fact file as a list of entries."""
    entries = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        key, _, body = line.partition(" ")
        body = body.strip()
        if key == "topic":
            entries.append(Entry(body))
            continue
        if not entries or not body:
            raise ValueError(f"{path.name}:{number}: {line!r} stands outside an entry")
        entry = entries[-1]
        if key == "w":
            entry.w = float(body)
        elif key in ("s", "s+", "s-"):
            prefix = {"s": "", "s+": "Yes. ", "s-": "No. "}[key]
            entry.s.append((prefix, forms.pattern(f"[{body}]")))
        elif key in ("a", "t"):  # plain text: answers hold JSON with its brackets
            getattr(entry, key).append(body)
        elif key in ("q", "h", "k"):
            getattr(entry, key).append(forms.pattern(f"[{body}]"))
        else:
            raise ValueError(f"{path.name}:{number}: unknown key {key!r}")
    for entry in entries:
        if not entry.a or not (entry.q or entry.h or entry.k or entry.s):
            raise ValueError(f"{path.name}: {entry.topic} lacks a question or an answer")
    return entries


def fill(text, slots):
    return re.sub(r"\{([a-z]+)\}", lambda m: str(slots[m[1]]), text)


# Neighbouring keys, for typing errors that people really make.
_NEAR = {a: b for a, b in zip("qwertyuiopasdfghjklzxcvbnm", "wertyuiopqsdfghjklaxcvbnmz")}


def typo(text, rng):
    """Spoil one ordinary word: flags, numbers and names stay as they are."""
    words = text.split(" ")
    fit = [i for i, w in enumerate(words) if len(w) > 3 and w.isalpha() and w.lower() != "ullm"]
    if not fit:
        return text
    i = rng.choice(fit)
    w, at = words[i], rng.randrange(1, len(words[i]) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        w = w[:at] + w[at + 1 :]
    elif kind == 1:
        w = w[:at] + w[at + 1] + w[at] + w[at + 2 :]
    elif kind == 2:
        w = w[:at] + w[at] + w[at:]
    else:
        w = w[:at] + _NEAR.get(w[at], w[at]) + w[at + 1 :]
    words[i] = w
    return " ".join(words)


def dress(text, rng, question=True):
    """Give a lower-case question the looks of what people type: capitals,
    punctuation or none, politeness, the odd typing error."""
    if rng.random() < 0.10:
        text = typo(text, rng)
    if rng.random() < 0.05:
        text = typo(text, rng)
    style = rng.random()
    if style < 0.50:
        text = re.sub(r"\bi\b", "I", text)
        text = text[:1].upper() + text[1:]
        text += rng.choice("??????. " if question else "...!? ")
    elif style < 0.75:
        text += rng.choice(["", "", "?", ".", " ?", "??"])
    elif style < 0.96:
        text = text[:1].upper() + text[1:] + rng.choice(["", "?", "?", "."])
    elif style < 0.975 and "--" not in text and "{" not in text:
        text = text.upper()
    return text.strip()
