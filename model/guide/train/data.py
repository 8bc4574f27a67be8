"""Generates the guide's training conversations from the fact files.

Everything is drawn from a seeded random.Random, so the same seed gives the
same data. Run it to look at samples:

    python data.py --show 20 --seed 7
"""

import argparse
import random
import re

import sums
from grammar import FACTS, Entry, Forms, draw, dress, fill, load

SIZES = ["0.6B", "0.6B", "0.6B", "1.7B", "4B", "8B", "14B", "32B"]
FACT_FILES = ["about", "serve", "flags", "http", "ops"]
SYSTEM = [
    "You are a helpful assistant.",
    "You are ullm's guide.",
    "You are the guide of ullm. Answer shortly.",
    "Be brief.",
    "You are a friendly assistant who answers questions.",
    "Answer in one sentence.",
    "You are an AI assistant.",
]
LEAD = ["please, ", "hi, ", "hello, ", "hey, ", "so ", "ok, ", "and ", "sorry, ", "quick question: ", "excuse me, ", "well, ", "question: ", "hm, ", "also, ", "then ", "now "]
TAIL = [" please", " please", " thanks", ", please", " in ullm", " with ullm", " here", " exactly", " then", " for me", " again", " quickly", ", any idea", " actually", " in short"]


# Words that a question may lack and still be understood.
SMALL = set("a an the do does is are can i to of my me you it in on for with please what how".split())


def lines(name):
    """The lines of a fact file without its comments."""
    return [line for line in (FACTS / name).read_text().splitlines() if line and not line.startswith("#")]


class Data:
    """Draws conversations: lists of {"role", "content"[, "thought"]}."""

    def __init__(self):
        forms = Forms()
        self.facts = [e for name in FACT_FILES for e in load(FACTS / f"{name}.txt", forms)]
        self.talk = load(FACTS / "talk.txt", forms)
        self.outside = load(FACTS / "outside.txt", forms)
        self.follow = load(FACTS / "followups.txt", forms)
        self.words = (FACTS / "words.txt").read_text().split()
        self.carriers = {"n": [], "v": [], "c": [], "e": []}
        for line in lines("carriers.txt"):
            self.carriers[line[0]].append(line[2:])
        pairs = (line.split(" = ") for line in lines("synonyms.txt"))
        self.synonyms = {word: others.split("|") for word, others in pairs}
        self.by_topic = {e.topic: e for e in self.facts}
        self.flags = self._flags()
        everything = {e.topic: e for e in self.facts + self.talk + self.outside}
        self.readme = [(q, everything[t]) for q, t in (line.split("\t") for line in lines("readme.tsv"))]
        self.wrap = {name: forms.pattern(f"<{name}>") for name in ("how", "want", "show", "cmd", "about")}
        self.support = forms.pattern(
            "[does <prog> support|does <prog> have|does <prog> do|can <prog> do|is there support for|has <prog>"
            "|is there|can i use|can i have|do you support|do you have|support for]"
        )
        self._weights = {id(g): [e.w**0.5 for e in g] for g in (self.facts, self.talk, self.follow)}

    def _flags(self):
        flags = []
        for line in lines("defaults.tsv"):
            flag, topic, default = line.split("\t")
            if topic not in self.by_topic:
                raise ValueError(f"defaults.tsv: no entry for topic {topic}")
            flags.append((flag, self.by_topic[topic], default))
        return flags

    def slots(self, rng):
        size, other = rng.choice(SIZES), rng.choice(SIZES)
        return {
            "size": size,
            "sizeb": other,
            "port": rng.choice([9000, 8080, 5000, rng.randrange(1024, 65536), rng.randrange(1024, 10000)]),
            "n": rng.choice([2, 4, 6, 8, 12, 16, 24, 32, rng.randrange(2, 65)]),
        }

    def _fill(self, text, slots, rng):
        text = re.sub(r"\{word\}", lambda m: self.word(rng), text)
        return fill(text, slots)

    def word(self, rng):
        """A word that has nothing to do with ullm, a made-up name at times."""
        if rng.random() < 0.65:
            return rng.choice(self.words)
        parts = ["".join(rng.choice(letters) for letters in ("bcdfghklmnprstvwz", "aeiou", ["", "", "n", "r", "s", "l", "ck", "ng"])) for _ in range(rng.choice([1, 2, 2, 3]))]
        name = "".join(parts) + rng.choice(["", "", "ia", "land", "y", "on", "er"])
        return rng.choice([name, name.capitalize()])

    def _pick(self, group, rng):
        return rng.choices(group, self._weights[id(group)])[0]

    # --- questions -------------------------------------------------------

    def question(self, e: Entry, rng):
        """A question for the entry and the prefix that its answer then has."""
        kinds = [k for k, n in (("q", 3), ("h", 4), ("k", 3), ("s", 1.2)) for _ in range(int(n * 10)) if getattr(e, k)]
        kind = rng.choice(kinds)
        if kind == "q":
            return draw(rng.choice(e.q), rng), ""
        if kind == "s":
            prefix, pattern = rng.choice(e.s)
            return f"{draw(self.support, rng)} {draw(pattern, rng)}", prefix
        if kind == "h":
            verb = draw(rng.choice(e.h), rng)
            if rng.random() < 0.33:
                return rng.choice(self.carriers["v"]).replace("{}", verb), ""
            form = rng.random()
            if form < 0.45:
                return f"{draw(self.wrap['how'], rng)} {verb}", ""
            if form < 0.58:
                return f"{draw(self.wrap['want'], rng)} {verb}", ""
            if form < 0.68:
                return f"{draw(self.wrap['show'], rng)} {verb}", ""
            if form < 0.78:
                return f"{draw(self.wrap['cmd'], rng)} {verb}", ""
            if form < 0.90:
                may = rng.choice(["can i", "is it possible to", "is there a way to", "could i", "am i able to", "can ullm", "can you"])
                return f"{may} {verb}", ""
            return verb, ""
        noun = draw(rng.choice(e.k), rng)
        if rng.random() < 0.33:
            return rng.choice(self.carriers["n"]).replace("{}", noun), ""
        form = rng.random()
        if form < 0.60:
            return f"{draw(self.wrap['about'], rng)} {noun}", ""
        if form < 0.68:
            return f"{noun} {rng.choice(['how', 'help', 'explain', 'info', 'option', 'usage', 'flag', 'please explain', 'meaning', 'setting'])}", ""
        if form < 0.76:
            bare = re.sub(r"^(the|a|an) ", "", noun)
            return f"{rng.choice(['ullm', 'about', 'and', 'use', 'regarding', 'ullm serve'])} {bare}", ""
        return noun, ""

    def ask(self, e, rng, slots):
        text, prefix = self.question(e, rng)
        answer = self._fill(rng.choice(e.a), slots, rng)
        if prefix and answer.startswith(("Yes", "No")):
            prefix = ""
        answer = prefix + answer
        text = self.reword(self._fill(text, slots, rng), rng)
        if rng.random() < 0.10:
            text = rng.choice(LEAD) + text
        if rng.random() < 0.07:
            text += rng.choice(TAIL)
        return self.turn(dress(text, rng), answer, self.thought(e, answer, slots, rng))

    def reword(self, text, rng):
        """Other words for the same: synonyms, small words left out, a remark
        before or after, now and then another order."""
        words = text.split(" ")
        if rng.random() < 0.40:
            words = [rng.choice(self.synonyms[w]) if w in self.synonyms and rng.random() < 0.5 else w for w in words]
        if rng.random() < 0.12:
            words = [w for w in words if w not in SMALL or rng.random() < 0.5] or words
        if rng.random() < 0.35:
            words = self.noise(words, rng)
        if rng.random() < 0.05:
            rng.shuffle(words)
        text = " ".join(words)
        if rng.random() < 0.10:
            text = f"{rng.choice(self.carriers['c'])} {text}"
        if rng.random() < 0.08:
            text += f"{rng.choice([',', '', '?', '.'])} {rng.choice(self.carriers['e'])}"
        return text

    def noise(self, words, rng):
        """One word in five of a longer question lost or exchanged for one that
        says nothing, so that no answer hangs on a single word and unknown words
        are read over. Names, numbers and flags stay."""
        if len(words) < 4:
            return words
        out = []
        for w in words:
            kind = rng.random() if w.isalpha() else 1.0
            if kind < 0.08:
                continue
            out.append(self.word(rng).lower() if kind < 0.20 else w)
        return out

    def thought(self, e, answer, slots, rng):
        subject = e.topic.partition(">")[2] or e.topic
        parts = [rng.choice(["The user asks about {}.", "The question is about {}.", "This is about {}."]).format(subject.replace("-", " "))]
        if e.topic in ("outside",) or e in self.talk:
            parts = []
        if e.t:
            parts.append(self._fill(rng.choice(e.t), slots, rng))
        elif code := re.search(r"`([^`]{2,40})`", answer):
            parts.append(f"The key is `{code[1]}`.")
        elif not parts:
            parts.append("This is small talk, so I answer kindly.")
        return " ".join(parts)

    @staticmethod
    def turn(question, answer, thought):
        return [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer, "thought": thought},
        ]

    def flag_turn(self, rng):
        """Questions about a flag by its name: what it does, default, variable."""
        flag, e, default = rng.choice(self.flags)
        name = "ULLM_" + flag[2:].replace("-", "_").upper()
        slots = self.slots(rng)
        noun = rng.choice([flag, flag, flag, f"the {flag} flag", flag[2:], f"the {flag[2:].replace('-', ' ')} flag"])
        kind = rng.random()
        if default != "-" and kind < 0.35:
            text = rng.choice(
                [
                    "what is the default of {}", "default of {}", "what's the default for {}", "{} default", "default value of {}",
                    "what value does {} have by default", "which default does {} have", "if i don't set {}, what is used", "what is {} by default",
                ]
            ).format(noun)
            answer = f"The default of `{flag}` is {default}."
        elif kind < 0.60:
            text = rng.choice(
                [
                    "which environment variable sets {}", "environment variable for {}", "env var for {}", "{} environment variable", "what is the environment variable for {}",
                    "can i set {} with an environment variable", "how do i set {} through the environment", "{} as an environment variable", "{} env", "set {} by env var",
                ]
            ).format(noun)
            answer = f"`{name}` is the environment variable for `{flag}`."
        elif kind < 0.68:
            text = rng.choice(["what is {}", "what does {} do", "what does {} mean", "{}", "explain {}", "what is {} for"]).format(name)
            answer = f"`{name}` is the environment variable for `{flag}`."
        else:
            text = rng.choice(
                [
                    "what does {} do", "what is {} for", "what does {} mean", "how does {} work", "explain {}", "{}", "how do i use {}", "why would i use {}",
                    "what is {}", "when do i need {}", "tell me about {}", "{} meaning", "what happens with {}", "usage of {}",
                ]
            ).format(noun)
            answer = self._fill(rng.choice(e.a), slots, rng)
        return self.turn(dress(text, rng), answer, f"The question is about the flag `{flag}`.")

    def command_turn(self, rng):
        """Several wishes in one command."""
        slots = self.slots(rng)
        n, port = slots["n"], slots["port"]
        length = rng.choice([1024, 2048, 4096, 8192, 16384, 32768, rng.randrange(500, 40000)])
        wishes = [
            (rng.choice([f"port {port}", f"on port {port}", f"the port {port}"]), f"--port {port}"),
            (rng.choice([f"{n} threads", f"with {n} threads", f"{n} cpu threads"]), f"--threads {n}"),
            (rng.choice([f"a context of {length}", f"context length {length}", f"{length} tokens of context"]), f"--context-len {length}"),
            (rng.choice(["on all interfaces", "reachable from the network"]), "--host 0.0.0.0"),
            (rng.choice(["json logs", "with json logging", "logs as json"]), "--log-format json"),
            (rng.choice([f"a batch size of {n}", f"at most {n} requests at once", f"batch limit {n}"]), f"--max-bs {n}"),
            (rng.choice(["on cuda", "with cuda", "on an nvidia gpu"]), "--backend cuda"),
            (rng.choice(["with vulkan", "on vulkan", "on an amd gpu"]), "--backend vulkan"),
            (rng.choice(["on the cpu", "on cpu only"]), "--backend cpu"),
            (rng.choice(["a q8_0 kv cache", "with an 8 bit kv cache"]), "--kv-dtype q8_0"),
            (rng.choice([f"a drain timeout of {n} seconds", f"{n} seconds of drain time"]), f"--drain-timeout {n}s"),
        ]
        k = rng.choice([1, 1, 2, 2, 3])
        chosen = rng.sample(wishes[:6] + wishes[9:] + [rng.choice(wishes[6:9])], k)
        named = rng.random() < 0.65
        model = f"Qwen/Qwen3-{slots['size']}"
        label = rng.choice([f"qwen3-{slots['size']}", f"the {slots['size']} model", f"qwen3 {slots['size']}", model, f"the {slots['size']}"])
        what = f"{rng.choice(['serve', 'run', 'start', 'host'])} {label if named else rng.choice(['ullm', 'the server', 'a server', 'it'])}"
        wish = ", ".join(w for w, _ in chosen[:-1])
        wish = f"{wish} and {chosen[-1][0]}" if wish else chosen[0][0]
        text = rng.choice(["how do i {} {}", "how to {} {}", "i want to {} {}", "{} {}", "command to {} {}", "show me how to {} {}", "can i {} {}"]).format(what, wish)
        command = " ".join(["ullm serve"] + ([model] if named else []) + [f for _, f in chosen])
        flags = " and ".join(f"`{f.split()[0]}`" for _, f in chosen)
        return self.turn(dress(text, rng), f"`{command}`", f"The flags are {flags}.")

    # --- conversations ---------------------------------------------------

    def single(self, rng):
        """One question with its answer, of any kind."""
        kind = rng.random()
        slots = self.slots(rng)
        if rng.random() < 0.04:
            question, e = rng.choice(self.readme)
            slots["size"] = "0.6B"
            answer = self._fill(e.a[0], slots, rng)
            return self.turn(question, answer, self.thought(e, answer, slots, rng))
        if kind < 0.62:
            return self.ask(self._pick(self.facts, rng), rng, slots)
        if kind < 0.70:
            return self.flag_turn(rng)
        if kind < 0.73:
            return self.command_turn(rng)
        if kind < 0.81:
            return self.ask(self._pick(self.talk, rng), rng, slots)
        if kind < 0.90:
            return self.ask(self.outside[0], rng, slots)
        return self.sum(rng)

    def sum(self, rng):
        text, answer, thought = sums.draw(rng)
        return self.turn(dress(text, rng), answer, thought)

    def followed(self, rng):
        """An answer and a question that needs it."""
        e = self._pick(self.follow, rng)
        slots = self.slots(rng)
        first = self.by_topic[e.topic.partition(">")[0]]
        return self.ask(first, rng, slots) + self.ask(e, rng, slots)

    def conversation(self, rng):
        """(messages, thinking): what one training example holds."""
        kind = rng.random()
        if kind < 0.82:
            messages = self.single(rng)
        elif kind < 0.88:
            messages = [m for _ in range(rng.choice([2, 2, 3, 3, 5])) for m in self.single(rng)]
        elif kind < 0.95:
            messages = self.single(rng) if rng.random() < 0.2 else []
            messages += self.followed(rng)
        else:
            messages = [m for _ in range(rng.randrange(3, 9)) for m in self.sum(rng)]
        thinking = rng.random() < 0.14
        if rng.random() < 0.22:
            messages.insert(0, {"role": "system", "content": rng.choice(SYSTEM)})
        return messages, thinking


def render(messages, thinking):
    """ChatML as template.jinja writes it, as (text, is answer) pieces. Only the
    last answer keeps its thought, as in a conversation that is going on."""
    pieces = []
    for i, m in enumerate(messages):
        if m["role"] != "assistant":
            pieces.append((f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n", False))
            continue
        if thinking and i == len(messages) - 1:
            pieces.append(("<|im_start|>assistant\n", False))
            pieces.append((f"<think>\n{m['thought']}\n</think>\n\n{m['content']}<|im_end|>", True))
        else:
            pieces.append(("<|im_start|>assistant\n<think>\n\n</think>\n\n", False))
            pieces.append((f"{m['content']}<|im_end|>", True))
        pieces.append(("\n", False))
    return pieces


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--show", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    data, rng = Data(), random.Random(args.seed)
    for _ in range(args.show):
        messages, thinking = data.conversation(rng)
        print("".join(text for text, _ in render(messages, thinking)), end="-----\n")


if __name__ == "__main__":
    main()
