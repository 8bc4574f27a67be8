"""Grades guide.gguf: transformers, on the weights that the gguf package
decodes, answers the questions greedily and each answer is matched.

    python eval.py --model ../guide.gguf [--verbose] [--checkpoint DIR/checkpoint.pt]

With --checkpoint the decoded model's logits are compared with the training
code's on the checkpoint, which differs by Q8_0's rounding alone, and with the
training code's on the decoded weights, which must agree.
"""

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

import gguf
import jinja2
import torch
from tokenizers import Tokenizer, models
from transformers import Qwen3ForCausalLM

import tokenizer as vocabulary
from export import gguf_name
from model import Config, Guide

HERE = Path(__file__).parent


def load(path):
    """GGUF → (transformers' model, tokenizers' tokenizer, template)."""
    reader = gguf.GGUFReader(path)
    field = lambda name: reader.fields[name].contents()
    tensors = {t.name: torch.from_numpy(gguf.dequantize(t.data, t.tensor_type).copy()) for t in reader.tensors}
    c = Config(
        vocab_size=len(field("tokenizer.ggml.tokens")),
        hidden_size=field("qwen3.embedding_length"),
        intermediate_size=field("qwen3.feed_forward_length"),
        num_hidden_layers=field("qwen3.block_count"),
        num_attention_heads=field("qwen3.attention.head_count"),
        num_key_value_heads=field("qwen3.attention.head_count_kv"),
        head_dim=field("qwen3.attention.key_length"),
        max_position_embeddings=field("qwen3.context_length"),
        rope_theta=field("qwen3.rope.freq_base"),
        rms_norm_eps=field("qwen3.attention.layer_norm_rms_epsilon"),
    )
    model = Qwen3ForCausalLM(c.as_transformers()).eval()
    state = {name: tensors.pop(gguf_name(name)) for name in model.state_dict() if name != "lm_head.weight"}
    if tensors:
        raise ValueError(f"unknown tensors in {path}: {list(tensors)}")
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise ValueError(f"tensors do not fit: {missing} {unexpected}")
    model.tie_weights()
    tokens, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ")) for m in field("tokenizer.ggml.merges")]
    normal = {t: i for i, t in enumerate(tokens) if types[i] == gguf.TokenType.NORMAL}
    tok = vocabulary.shell(models.BPE(normal, merges))
    tok.add_special_tokens(vocabulary.added([t for i, t in enumerate(tokens) if types[i] == gguf.TokenType.CONTROL], True))
    tok.add_tokens(vocabulary.added([t for i, t in enumerate(tokens) if types[i] == gguf.TokenType.USER_DEFINED], False))
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(field("tokenizer.chat_template"))
    return c, model, tok, template, field("tokenizer.ggml.eos_token_id")


@torch.no_grad()
def answer(model, tok, eos, prompts, limit=120):
    """Greedy continuations of the prompts, in one batch padded on the left."""
    rows = [tok.encode(p).ids for p in prompts]
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(r)) + r for r in rows])
    mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows])
    out = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=limit, do_sample=False, eos_token_id=eos, pad_token_id=0
    )
    texts = []
    for row in out[:, longest:].tolist():
        row = row[: row.index(eos)] if eos in row else row
        texts.append(tok.decode(row, skip_special_tokens=False))
    return texts


def compare(path, c, model, tok):
    """Prints the largest logit differences on a sample conversation."""
    text = "<|im_start|>user\nHow do I serve Qwen3-0.6B on my GPU?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nUse `ullm serve"
    ids = torch.tensor([tok.encode(text).ids])

    def own(state):
        net = Guide(c).eval()
        net.load_state_dict(state)
        return net(ids) @ net.model.embed_tokens.weight.T

    with torch.no_grad():
        theirs = model(ids).logits
        decoded = own({k: v for k, v in model.state_dict().items() if k != "lm_head.weight"})
        original = own(torch.load(path)["model"])
    print(f"transformers against the training code, same weights: {(theirs - decoded).abs().max():.2e}")
    print(f"Q8_0 against the checkpoint: {(theirs - original).abs().max():.2e} where logits spread by {original.std():.2f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, default=HERE.parent / "guide.gguf")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--verbose", action="store_true", help="print right answers too")
    args = parser.parse_args()
    c, model, tok, template, eos = load(args.model)
    print(f"{sum(p.numel() for p in model.parameters())} parameters")
    if args.checkpoint:
        compare(args.checkpoint, c, model, tok)
    for name in ("examples.json", "questions.json"):
        rows = json.loads((HERE.parent / name).read_text())
        prompts = []
        for r in rows:
            messages = r.get("messages") or [{"role": "user", "content": r["question"]}]
            if "system" in r:
                messages = [{"role": "system", "content": r["system"]}] + messages
            prompts.append(template.render(messages=messages, add_generation_prompt=True, enable_thinking=r.get("thinking", False)))
        texts = []
        for i in range(0, len(prompts), 32):
            texts += answer(model, tok, eos, prompts[i : i + 32])
        right, count = defaultdict(int), defaultdict(int)
        for r, text in zip(rows, texts):
            ok = all(re.search(m, text) for m in r["match"])
            right[r["topic"]] += ok
            count[r["topic"]] += 1
            if args.verbose or not ok:
                asked = r.get("question") or r["messages"][-1]["content"]
                print(f"{'right' if ok else 'WRONG'} [{r['topic']}] {asked!r} -> {text!r}")
        for topic in count:
            print(f"{topic}: {right[topic]} of {count[topic]}")
        total, n = sum(right.values()), len(rows)
        print(f"{name}: {total} of {n}, {100 * total / n:.0f} %")


if __name__ == "__main__":
    main()
