"""Trains the guide on the CPU: seeded, resumable, loss on the answers alone.

    python train.py --out DIR --steps 4000

DIR holds tokenizer.json (from tokenizer.py) and receives checkpoint.pt, from
which the same command goes on, and log.txt. SIGTERM saves and stops. The same
seed, data and thread count give the same model, whether or not the run was
interrupted.
"""

import argparse
import math
import os
import random
import signal
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer

from data import Data, render
from model import Config, Guide
from muon import Muon

POOL = 2048  # conversations generated at once
CUT, SHORT = 0.65, 10  # share of conversations whose last answer is cut after so many tokens
SPREAD, LEAST = 1.25, 256  # longest to shortest row of a part, and tokens that it has at least
WARMUP = 60


class Batches:
    """Endless batches of about `tokens` tokens. Pool i depends on the seed and
    i only, so a position is a pair (pool, batch)."""

    def __init__(self, tok, seed, tokens, position=(0, 0)):
        self.tok, self.seed, self.tokens = tok, seed, tokens
        self.data = Data()
        self.pool, self.index = position
        self.batches = self._make(self.pool)

    def _make(self, pool):
        rng = random.Random(f"{self.seed}/{pool}")
        rows = []
        texts, masks = [], []
        for _ in range(POOL):
            pieces = render(*self.data.conversation(rng))
            texts += [text for text, _ in pieces]
            masks.append([answer for _, answer in pieces])
        encoded = iter(self.tok.encode_batch(texts))
        for mask in masks:
            ids, targets = [], []
            for answer in mask:
                piece = next(encoded).ids
                if answer:
                    last = len(ids)  # where the last answer begins
                ids += piece
                targets += piece if answer else [-100] * len(piece)
            # What is hard is to see which answer is meant; its end is soon
            # known by heart, and a conversation without it costs less.
            if rng.random() < CUT:
                ids, targets = ids[: last + SHORT], targets[: last + SHORT]
            rows.append((ids[:-1], targets[1:]))
        # Answers of one subject have one length, so a batch is drawn at random
        # and only its parts are sorted by length: sorted batches teach the
        # subject of the last batch instead of reading the question.
        batches, batch, size = [], [], 0
        for row in rows:
            batch.append(row)
            size += len(row[0])
            if size >= self.tokens:
                batches.append(batch)
                batch, size = [], 0
        return batches

    def next(self):
        """The next batch as padded parts (ids, targets), each [row, token]."""
        if self.index == len(self.batches):
            self.pool, self.index = self.pool + 1, 0
            self.batches = self._make(self.pool)
        batch = sorted(self.batches[self.index], key=lambda row: len(row[0]))
        self.index += 1
        parts, part, size = [], [], 0
        for row in batch:
            if size > LEAST and len(row[0]) > SPREAD * len(part[0][0]):
                parts.append(part)
                part, size = [], 0
            part.append(row)
            size += len(row[0])
        return [self._pad(part) for part in parts + [part]]

    @staticmethod
    def _pad(rows):
        longest = max(len(ids) for ids, _ in rows)
        pad = lambda values, fill: values + [fill] * (longest - len(values))
        return (
            torch.tensor([pad(ids, 0) for ids, _ in rows]),
            torch.tensor([pad(targets, -100) for _, targets in rows]),
        )


def rate(step, steps):
    """Warm-up, then a cosine to 2 % of the peak, as a factor."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    done = min(1.0, (step - WARMUP) / max(1, steps - WARMUP))
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def save(path, content):
    part = path.with_suffix(".part")
    torch.save(content, part)
    os.replace(part, path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--tokens", type=int, default=4096, help="tokens of a batch")
    parser.add_argument("--lr", type=float, default=0.01, help="of the matrices; embedding and norms take a fifth")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--init", type=Path, help="checkpoint whose weights the run begins with")
    parser.add_argument("--pid", type=Path, help="file for the process id")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if args.pid:
        args.pid.write_text(str(os.getpid()))
    config = Config()
    model = Guide(config)
    if args.init:
        model.load_state_dict(torch.load(args.init)["model"])
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.dim() != 2 or "embed" in n]
    optimizers = [Muon(matrices, args.lr), torch.optim.AdamW(others, args.lr / 5, betas=(0.9, 0.98), weight_decay=0.0)]
    peaks = [args.lr, args.lr / 5]
    tok = Tokenizer.from_file(str(args.out / "tokenizer.json"))
    path = args.out / "checkpoint.pt"
    step, seen, position, spent = 0, 0, (0, 0), 0.0
    if path.exists():
        state = torch.load(path)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        step, seen, position, spent = state["step"], state["seen"], state["position"], state["spent"]
    batches = Batches(tok, args.seed, args.tokens, position)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    log = open(args.out / "log.txt", "a", buffering=1)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, from step {step}", file=log)
    began, total, count = time.time() - spent, 0.0, 0
    while step < args.steps and not stop:
        for optimizer, peak in zip(optimizers, peaks):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate(step, args.steps)
        parts = batches.next()
        answers = sum(targets.ne(-100).sum().item() for _, targets in parts)
        loss = 0.0
        for ids, targets in parts:
            part = model.loss(ids, targets) * (targets.ne(-100).sum() / answers)
            part.backward()
            loss += part.item()
            seen += ids.numel()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        total, count = total + loss, count + 1
        if step % 10 == 0:
            print(f"step {step} loss {total / count:.4f} tokens {seen} seconds {time.time() - began:.0f}", file=log)
            total, count = 0.0, 0
        if step % 100 == 0 or step == args.steps or stop:
            save(
                path,
                {
                    "model": model.state_dict(),
                    "optimizers": [o.state_dict() for o in optimizers],
                    "step": step,
                    "seen": seen,
                    "position": (batches.pool, batches.index),
                    "spent": time.time() - began,
                },
            )


if __name__ == "__main__":
    main()
