"""Makes two tiny complete models that have learned a few texts by heart, and what transformers answers with them.

    python e2e.py [name ...]      (torch 2.15.0, transformers 5.23.0, tokenizers 0.23.3, safetensors 0.8.0)

A folder e2e/NAME is a Hugging Face directory like Qwen3's (talk-q8_0 holds the GGUF file model.gguf instead) and has one
file more:

expected.json
    completions  [{prompt, prompt_tokens, max_tokens, tokens, text, finish_reason, logprobs, min_margin}]
    chats        [{messages, enable_thinking (absent: not given), prompt, prompt_tokens, max_tokens, tokens, text, ...}]

All answers are greedy. tokens are the generated ids including the end-of-sequence id, text is what they say without
special tokens, logprobs are those of tokens, in float32; finish_reason is "stop" or "length". Memorized text makes the margins wide:
transformers in bfloat16 is checked to give the same tokens, so that any sound implementation does.

Training is seeded, but its last bits depend on the machine: the committed files are the reference.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import torch
from common import HERE, load_directory, logprobs, margins
from gguf_golden import decode_file, gguf_name, write_file
from quants import Q
from safetensors.torch import save_file
from tokens import ADDED, MERGES, SPECIAL, build, save
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

VOCAB = 384  # 256 bytes, the merges, the special tokens and rows that no token uses, as in Qwen3
ENDOFTEXT, IM_END = 256 + MERGES, 256 + MERGES + 2

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Once upon a time there was a small model that knew a few sentences by heart and nothing else in the world.",
    "One, two, three, four, five, six, seven, eight, nine, ten.",
    "def add(a, b):\n    return a + b\n",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "いろはにほへと ちりぬるを",
]
SYSTEM = "You are a tiny test model."
CHATS = [
    (None, "Hello!", "Hello! How can I help you?"),
    (None, "What is two plus two?", "Two plus two is four."),
    (None, "Say hello in German.", "Guten Tag, schöne Grüße aus Köln!"),
    (None, "Say hello in Japanese.", "こんにちは、世界！"),
    (None, "Show me a smile.", "Here it is: 😀👍🏽 and that's all."),
    (None, "Count to five.", "1, 2, 3, 4, 5"),
    (None, "Write a list.", "- first\n- second\n- third\n"),
    (SYSTEM, "Who are you?", "I am a tiny test model."),
    (SYSTEM, "Hello!", "Greetings, human."),
]
SECOND = ("Thanks!", "You are welcome.")  # a second turn after each chat
THOUGHTS = {
    "Hello!": "The user greets me. I greet back.",
    "What is two plus two?": "2 + 2 = 4, so the answer is four.",
    "Count to five.": "Five numbers, easy.",
    "Who are you?": "The system prompt tells who I am.",
    "Say hello in Japanese.": "日本語で答えます。",
}

MODELS = {
    "talk": {"thinks": False, "seed": 11, "config": {"tie_word_embeddings": True}},
    "think": {"thinks": True, "seed": 12, "form": 5,
              "config": {"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 1, "attention_bias": True}},
}
BASE = {"vocab_size": VOCAB, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 32, "intermediate_size": 160, "max_position_embeddings": 1024, "rope_theta": 10000.0,
        "bos_token_id": ENDOFTEXT, "eos_token_id": IM_END}
GENERATION = {"bos_token_id": ENDOFTEXT, "do_sample": True, "eos_token_id": [IM_END, ENDOFTEXT], "pad_token_id": ENDOFTEXT,
              "temperature": 0.6, "top_k": 20, "top_p": 0.95, "transformers_version": "4.51.0"}


def conversations(thinks):
    """The chats to learn: (messages before the answer, enable_thinking, answer)."""
    for system, question, answer in CHATS:
        messages = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": question}]
        if thinks and question in THOUGHTS:
            yield messages, None, f"<think>\n{THOUGHTS[question]}\n</think>\n\n{answer}"
            yield messages, False, answer
        else:
            yield messages, None, answer
        after = messages + [{"role": "assistant", "content": answer}, {"role": "user", "content": SECOND[0]}]
        yield after, None, SECOND[1]


def render(tokenizer, messages, thinking):
    extra = {} if thinking is None else {"enable_thinking": thinking}
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **extra)


def train(model, samples, seed, steps=500):
    """Learns by heart how each prompt goes on: samples are pairs of token lists, and every step sees all of them."""
    torch.manual_seed(seed)
    width = max(len(p) + len(a) for p, a in samples)
    ids = torch.full((len(samples), width), ENDOFTEXT)
    labels = torch.full((len(samples), width), -100)
    mask = torch.zeros((len(samples), width), dtype=torch.long)
    for i, (p, a) in enumerate(samples):
        ids[i, :len(p) + len(a)] = torch.tensor(p + a)
        labels[i, len(p):len(p) + len(a)] = torch.tensor(a)
        mask[i, :len(p) + len(a)] = 1
    best = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02, betas=(0.9, 0.98))
    plan = torch.optim.lr_scheduler.OneCycleLR(best, 6e-3, total_steps=steps, pct_start=0.1)
    with torch.enable_grad():
        for step in range(steps):
            loss = model(ids, attention_mask=mask, labels=labels).loss
            best.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            best.step()
            plan.step()
            if step % 100 == 99:
                print(f"    step {step + 1}: loss {loss.item():.5f}", flush=True)


def answer(load, tokenizer, prompt, max_tokens):
    """Greedy generation in float32, checked against bfloat16. load gives the model in a dtype."""
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    got = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = load(dtype)
        out = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
                             temperature=None, top_k=None, top_p=None, max_new_tokens=max_tokens,
                             eos_token_id=GENERATION["eos_token_id"], pad_token_id=ENDOFTEXT)
        got[dtype] = out[0, len(ids):].tolist()
        if dtype == torch.float32:
            rows = logprobs(model, ids + got[dtype][:-1])[len(ids) - 1:]
    tokens = got[torch.float32]
    margin = float(margins(rows).min())
    assert tokens == got[torch.bfloat16] and margin > 0.7, (prompt, margin)
    return {"prompt": prompt, "prompt_tokens": ids, "max_tokens": max_tokens, "tokens": tokens,
            "text": tokenizer.decode(tokens, skip_special_tokens=True),
            "finish_reason": "stop" if tokens[-1] in GENERATION["eos_token_id"] else "length",
            "logprobs": [round(float(rows[i, t]), 6) for i, t in enumerate(tokens)], "min_margin": round(margin, 3)}


def beginnings(tokenizer, text):
    """The beginnings of a text that end between two of its tokens: what the model has seen in training."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    for n in range(3, len(ids) - 3):
        prompt = tokenizer.decode(ids[:n])
        if tokenizer(prompt, add_special_tokens=False)["input_ids"] == ids[:n]:
            yield prompt


def expect(folder, load, tokenizer, thinks):
    """Writes expected.json."""
    completions = []
    for text in TEXTS:
        prompts = list(beginnings(tokenizer, text))
        completions.append(answer(load, tokenizer, prompts[len(prompts) // 3], 64))
        completions.append(answer(load, tokenizer, prompts[len(prompts) // 2], 3))
    chats = []
    for messages, thinking, want in conversations(thinks):
        chat = {"messages": messages} | ({} if thinking is None else {"enable_thinking": thinking})
        chat |= answer(load, tokenizer, render(tokenizer, messages, thinking), 96)
        assert chat["text"] == want, (chat["text"], want)
        chats.append(chat)
    lines = [f'"{key}": [\n' + ",\n".join("  " + json.dumps(x, ensure_ascii=False) for x in rows) + "\n ]"
             for key, rows in (("completions", completions), ("chats", chats))]
    (folder / "expected.json").write_text("{\n " + ",\n ".join(lines) + "\n}\n")
    print(f"e2e/{folder.name}: {len(completions)} completions, {len(chats)} chats, smallest margin "
          f"{min(x['min_margin'] for x in completions + chats)}", flush=True)


def make(name):
    spec = MODELS[name]
    folder = HERE / "e2e" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    thinks = spec["thinks"]
    corpus = TEXTS + [SYSTEM] + list(THOUGHTS.values()) + [t for _, q, a in CHATS for t in (q, a)]
    save(build(corpus), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") == IM_END and len(tokenizer) == 256 + MERGES + len(SPECIAL + ADDED)
    samples = [("", t + "<|endoftext|>") for t in TEXTS]
    samples += [(render(tokenizer, m, thinking), a + "<|im_end|>") for m, thinking, a in conversations(thinks)]
    samples = [[tokenizer(s, add_special_tokens=False)["input_ids"] for s in pair] for pair in samples]

    torch.manual_seed(spec["seed"])
    model = Qwen3ForCausalLM(Qwen3Config(**{**BASE, **spec["config"]}, initializer_range=0.08))
    train(model, samples, spec["seed"])
    model = model.to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    if spec.get("form") == 5:
        model.config.architectures = ["Qwen3ForCausalLM"]
        model.save_pretrained(folder, max_shard_size="200KB")
    else:
        values = {**BASE, **spec["config"], "rms_norm_eps": 1e-6}
        config = {"architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
                  "hidden_act": "silu", "initializer_range": 0.02, "max_window_layers": 28, "model_type": "qwen3",
                  "rope_scaling": None, "sliding_window": None, "torch_dtype": "bfloat16", "transformers_version": "4.51.0",
                  "use_cache": True, "use_sliding_window": False, **values}
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        state = {k: v.contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "generation_config.json").write_text(json.dumps(GENERATION, indent=2) + "\n")
    expect(folder, load_directory(folder), tokenizer, thinks)
    for file in folder.iterdir():
        file.chmod(0o644)


def convert(source, fmt):
    """Makes the GGUF file of a model and what transformers answers with its decoded weights."""
    folder = HERE / "e2e" / f"{source}-{fmt.name.lower()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    origin = HERE / "e2e" / source
    model = load_directory(origin)(torch.float32)
    tensors = [(gguf_name(n), p.numpy(), Q.F32 if p.ndim == 1 else fmt) for n, p in model.state_dict().items()
               if n != "lm_head.weight"]
    write_file(folder / "model.gguf", model.config, tensors, origin)
    with tempfile.TemporaryDirectory() as decoded:
        decode_file(folder / "model.gguf", model.config, pathlib.Path(decoded))
        expect(folder, load_directory(decoded), AutoTokenizer.from_pretrained(origin), MODELS[source]["thinks"])


if __name__ == "__main__":
    for name in sys.argv[1:] or [*MODELS, "talk-q8_0"]:
        if name == "talk-q8_0":
            convert("talk", Q.Q8_0)
        else:
            make(name)
