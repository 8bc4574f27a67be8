"""Checks that no question of questions.json is one that the generator asks.

    python heldout.py --conversations 400000

Two wordings count as the same when they have the same words in any order
(punctuation and case aside), or when they share more than 0.9 of their letter
trigrams. The sums must not have been trained on under any wording.
"""

import argparse
import json
import random
import re
import sys
from collections import defaultdict
from pathlib import Path

import sums
from data import Data

LIMIT = 0.9


def normal(text):
    return re.sub(r"[^a-z0-9+*-]+", " ", text.lower()).strip()


def trigrams(text):
    text = f"  {text} "
    return frozenset(text[i : i + 3] for i in range(len(text) - 2))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--conversations", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=99)
    args = parser.parse_args()
    rows = json.loads((Path(__file__).parent.parent / "questions.json").read_text())
    asked = [r.get("question") or r["messages"][-1]["content"] for r in rows]
    held = {q: (normal(q), trigrams(normal(q))) for q in asked}
    bags = {tuple(sorted(n.split())): q for q, (n, _) in held.items()}
    index = defaultdict(list)  # trigram → questions that have it
    for q, (_, grams) in held.items():
        for g in grams:
            index[g].append(q)
    closest = {q: (0.0, "") for q in asked}
    data, rng, seen = Data(), random.Random(args.seed), set()
    for _ in range(args.conversations):
        for m in data.conversation(rng)[0]:
            if m["role"] != "user":
                continue
            text = normal(m["content"])
            if text in seen:
                continue
            seen.add(text)
            same = bags.get(tuple(sorted(text.split())))
            grams = trigrams(text)
            shared = defaultdict(int)
            for g in grams:
                for q in index.get(g, ()):
                    shared[q] += 1
            for q, n in shared.items():
                share = n / (len(grams) + len(held[q][1]) - n)
                if share > closest[q][0]:
                    closest[q] = (share, text)
            if same:
                closest[same] = (1.0, text)
    bad = [(q, c) for q, c in closest.items() if c[0] > LIMIT]
    print(f"{len(seen)} distinct training questions, {len(asked)} held out")
    for q, (share, text) in sorted(closest.items(), key=lambda kv: -kv[1][0])[:10]:
        print(f"{share:.2f} {q!r} ~ {text!r}")
    for q in asked:  # two-digit sums must be of those that are never trained on
        if found := re.search(r"(\d\d) *(\+|-|plus|and) *(\d\d)", q):
            op = "-" if found[2] == "-" else "+"
            if not sums.held_out(int(found[1]), op, int(found[3])):
                print(f"note: the sum of {q!r} may be trained on in other words")
    if bad:
        sys.exit(f"{len(bad)} questions are too close to the training data: {bad}")


if __name__ == "__main__":
    main()
