"""What the golden scripts share: random weights, the oracle, and the files that model/internal/golden reads.

A golden is a folder with the model (a Hugging Face directory or a GGUF file) and two files:

golden.json
    name, feature   what the model is there for
    model           the model's path inside the folder ("." for a Hugging Face directory)
    format          how its matrices are stored
    vocab           rows of the embedding
    sequences       [{tokens, ids_per_row}]: for every position of every sequence logprobs.bin has a row
    greedy          [{prompt, tokens, min_margin}]: the greedy continuation; min_margin is the smallest distance in
                    logprob between the best and the second-best id along it
    median_margin   the same distance, median over all positions of the sequences
    bf16            {mean, worst}: absolute difference in logprob, over all values of logprobs.bin, between them and
                    transformers' own bfloat16 run
    float64         the same against float64: the rounding error of the oracle itself

logprobs.bin (little endian)
    the rows, in order. ids_per_row = 0: vocab float32 logprobs, of id 0, 1, 2 ...
    ids_per_row = n: n int32 ids, then their n float32 logprobs; the best ids come first, the others are random.

The oracle is transformers in float32 on the weights as stored. A log-softmax in float64 over its logits gives the logprobs.
"""

import json
import pathlib

import numpy as np
import torch
from transformers import Qwen3ForCausalLM
from transformers.utils import logging

HERE = pathlib.Path(__file__).resolve().parent
BEST, RANDOM = 4, 12  # ids of a row that does not hold all of them
GREEDY = 64  # tokens of a continuation

logging.disable_progress_bar()
torch.set_num_threads(1)
torch.set_grad_enabled(False)


def randomize(model, seed, spread):
    """Gives the model random weights whose logits have about the standard deviation spread.

    Norm weights lie around 1 and widely enough that forgetting one shows. Query and key norms are larger, so that
    attention picks out positions, and what RoPE does shows too.
    """
    rng = np.random.default_rng(seed)
    hidden = model.config.hidden_size
    for name, p in model.named_parameters():
        shape = tuple(p.shape)
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            v = rng.uniform(0.8, 1.8, shape)
        elif name.endswith("norm.weight"):
            v = rng.uniform(0.6, 1.4, shape)
        elif name.endswith(".bias"):
            v = rng.normal(0, 0.7, shape)
        elif name.endswith(("embed_tokens.weight", "lm_head.weight")):
            v = rng.normal(0, spread / np.sqrt(hidden), shape)
        else:
            gain = 2.0 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
            v = rng.normal(0, gain / np.sqrt(shape[1]), shape)
        p.copy_(torch.from_numpy(v.astype(np.float32)))


def logits(model, tokens):
    """Logits of every position as a float64 array [position][id]."""
    return model(torch.tensor([tokens])).logits[0].double().numpy()


def logprobs(model, tokens):
    x = logits(model, tokens)
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def margins(rows):
    top = np.partition(rows, -2, axis=-1)[:, -2:]
    return top[:, 1] - top[:, 0]


def continue_greedily(model, prompt, n=GREEDY):
    """The greedy continuation by transformers' generate, and the smallest margin on its way."""
    out = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                         max_new_tokens=n, min_new_tokens=n, do_sample=False, use_cache=True, eos_token_id=None,
                         pad_token_id=0)[0].tolist()
    rows = logprobs(model, out[:-1])[len(prompt) - 1:]
    assert [int(i) for i in rows.argmax(axis=-1)] == out[len(prompt):], "the cache changes the continuation"
    return out[len(prompt):], float(margins(rows).min())


def pick_greedy(model, rng, vocab, length, floor=0.04, tries=400):
    """A random prompt whose greedy continuation never comes closer to a tie than floor, nor repeats one token."""
    for _ in range(tries):
        prompt = rng.integers(0, vocab, length).tolist()
        tokens, margin = continue_greedily(model, prompt)
        if margin >= floor and len(set(tokens)) >= 8:
            return {"prompt": prompt, "tokens": tokens, "min_margin": round(margin, 4)}
    raise SystemExit("no prompt with a clear greedy continuation: change the seed or the scales")


def write(folder, name, feature, path, fmt, load, seed, lengths):
    """Computes and writes golden.json and logprobs.bin. load(dtype) gives the model in that dtype;
    lengths are pairs (tokens, whether rows hold all ids)."""
    rng = np.random.default_rng(seed + 1000)
    oracle, half, double = load(torch.float32), load(torch.bfloat16), load(torch.float64)
    vocab = oracle.config.vocab_size
    sequences, blob, gaps = [], [], []
    half_errors, double_errors = [], []
    for length, full in lengths:
        tokens = rng.integers(0, vocab, length).tolist()
        want, bf16, f64 = (logprobs(m, tokens) for m in (oracle, half, double))
        gaps.append(margins(want))
        if full:
            ids = np.tile(np.arange(vocab, dtype="<i4"), (length, 1))
        else:
            best = np.argsort(-want, axis=-1)[:, :BEST]
            ids = np.stack([np.concatenate([b, rng.choice(np.setdiff1d(np.arange(vocab), b), RANDOM, replace=False)])
                            for b in best]).astype("<i4")
        values = np.take_along_axis(want, ids, axis=-1)
        half_errors.append(np.abs(values - np.take_along_axis(bf16, ids, axis=-1)).ravel())
        double_errors.append(np.abs(values - np.take_along_axis(f64, ids, axis=-1)).ravel())
        for row_ids, row in zip(ids, values.astype("<f4")):
            blob.append((b"" if full else row_ids.tobytes()) + row.tobytes())
        sequences.append({"tokens": tokens, "ids_per_row": 0 if full else BEST + RANDOM})
    half_errors, double_errors = np.concatenate(half_errors), np.concatenate(double_errors)
    median = float(np.median(np.concatenate(gaps)))
    greedy = [pick_greedy(oracle, rng, vocab, n) for n in (5, 40)]

    def difference(e):
        return {"mean": float(f"{e.mean():.3g}"), "worst": float(f"{e.max():.3g}")}

    golden = {"name": name, "feature": feature, "model": path, "format": fmt, "vocab": vocab,
              "median_margin": round(median, 3), "bf16": difference(half_errors), "float64": difference(double_errors),
              "greedy": greedy, "sequences": sequences}
    assert median >= 0.5, f"{name}: median margin {median}"
    assert double_errors.max() < 5e-4, f"{name}: the oracle is off by {double_errors.max()}"
    body = json.dumps({k: v for k, v in golden.items() if k not in ("greedy", "sequences")}, indent=1)[:-2]
    for key in ("greedy", "sequences"):
        body += f',\n "{key}": [\n' + ",\n".join("  " + json.dumps(x) for x in golden[key]) + "\n ]"
    (folder / "golden.json").write_text(body + "\n}\n")
    (folder / "logprobs.bin").write_bytes(b"".join(blob))
    print(f"{name:16} margin {median:.2f}  bf16 {golden['bf16']}  float64 {golden['float64']}"
          f"  greedy {[g['min_margin'] for g in greedy]}", flush=True)


def load_directory(folder):
    """A loader for write: the Hugging Face directory, read by transformers."""
    def load(dtype):
        # eager attention where it is the oracle, transformers' default where its own rounding is the subject
        how = {} if dtype == torch.bfloat16 else {"attn_implementation": "eager"}
        return Qwen3ForCausalLM.from_pretrained(folder, dtype=dtype, **how).eval()
    return load
