"""Checks that transformers still computes what the committed goldens hold.

    python verify.py [name ...]

Reads every golden.json, runs transformers in float32 on the model beside it, and fails if a logprob is off by more than
TOLERANCE or a greedy continuation differs. Nothing is written.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
from common import HERE, continue_greedily, load_directory, logprobs
from gguf_golden import decode_file
from transformers import Qwen3Config

TOLERANCE = 2e-4  # other processors round the last bits differently


def config_of(path):
    """The config of a GGUF file, read from its metadata."""
    import gguf
    keys = {k: f.contents() for k, f in gguf.GGUFReader(path).fields.items() if k != "tokenizer.ggml.tokens"}
    tensors = {t.name: t.shape for t in gguf.GGUFReader(path).tensors}
    rope = {"rope_type": "default", "rope_theta": keys["qwen3.rope.freq_base"]}
    if "qwen3.rope.scaling.type" in keys:
        rope |= {"rope_type": keys["qwen3.rope.scaling.type"], "factor": keys["qwen3.rope.scaling.factor"],
                 "original_max_position_embeddings": keys["qwen3.rope.scaling.original_context_length"],
                 "beta_fast": keys["qwen3.rope.scaling.yarn_beta_fast"]}
    return Qwen3Config(
        vocab_size=int(tensors["token_embd.weight"][1]), hidden_size=keys["qwen3.embedding_length"],
        num_hidden_layers=keys["qwen3.block_count"], num_attention_heads=keys["qwen3.attention.head_count"],
        num_key_value_heads=keys["qwen3.attention.head_count_kv"], head_dim=keys["qwen3.attention.key_length"],
        intermediate_size=keys["qwen3.feed_forward_length"], max_position_embeddings=keys["qwen3.context_length"],
        rms_norm_eps=keys["qwen3.attention.layer_norm_rms_epsilon"], rope_parameters=rope,
        tie_word_embeddings="output.weight" not in tensors)


def verify(folder, golden, model):
    blob = memoryview((folder / "logprobs.bin").read_bytes())
    worst = 0.0
    for sequence in golden["sequences"]:
        got = logprobs(model, sequence["tokens"])
        for row in got:
            n = sequence["ids_per_row"]
            ids = np.frombuffer(blob[:4 * n], "<i4") if n else np.arange(golden["vocab"])
            blob = blob[4 * n:]
            worst = max(worst, float(np.abs(np.frombuffer(blob[:4 * len(ids)], "<f4") - row[ids]).max()))
            blob = blob[4 * len(ids):]
    assert len(blob) == 0
    same = all(continue_greedily(model, g["prompt"])[0] == g["tokens"] for g in golden["greedy"])
    print(f"{golden['name']:16} worst difference {worst:.2e}, greedy continuations {'equal' if same else 'DIFFER'}", flush=True)
    return worst <= TOLERANCE and same


def main():
    good = True
    for file in sorted(HERE.rglob("golden.json")):
        golden = json.loads(file.read_text())
        if sys.argv[1:] and golden["name"] not in sys.argv[1:]:
            continue
        if golden["model"] == ".":
            good &= verify(file.parent, golden, load_directory(file.parent)(torch.float32))
            continue
        with tempfile.TemporaryDirectory() as decoded:
            path = file.parent / golden["model"]
            decode_file(path, config_of(path), pathlib.Path(decoded))
            good &= verify(file.parent, golden, load_directory(decoded)(torch.float32))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
