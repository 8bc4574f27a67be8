"""Logits of a GGUF file at every position, for internal/kl: float32, [position][id], the sequences one after the other.

peers.py transformers MODEL.gguf SEQUENCES.json OUT          float32, on the weights that the gguf package decodes
peers.py llama MODEL.gguf SEQUENCES.json OUT LIBRARY THREADS llama.cpp at its defaults, through LIBRARY (libllama.so)
peers.py random DIR TOKENIZER                                writes a model in Qwen3-0.6B's shape as a Hugging Face directory,
                                                             with random weights whose logits spread like a trained model's
libllama.py of bench/engines stands before this text.
"""
import json
import pathlib
import shutil
import sys

import numpy as np


def transformers(model, sequences, out):
    import gguf
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.set_grad_enabled(False)
    file = gguf.GGUFReader(model)
    keys = {k.removeprefix("qwen3."): f.contents() for k, f in file.fields.items() if k.startswith("qwen3.")}
    if "rope.scaling.type" in keys:
        sys.exit(f"{model}: rope scaling is not handled here")
    found = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).reshape(t.shape[::-1].tolist()) for t in file.tensors}
    config = Qwen3Config(
        vocab_size=found["token_embd.weight"].shape[0], hidden_size=keys["embedding_length"],
        num_hidden_layers=keys["block_count"], intermediate_size=keys["feed_forward_length"],
        num_attention_heads=keys["attention.head_count"], num_key_value_heads=keys["attention.head_count_kv"],
        head_dim=keys["attention.key_length"], rms_norm_eps=keys["attention.layer_norm_rms_epsilon"],
        rope_theta=keys["rope.freq_base"], max_position_embeddings=keys["context_length"],
        tie_word_embeddings="output.weight" not in found, attention_bias=False)
    oracle = Qwen3ForCausalLM(config).float().eval()
    for name, p in oracle.named_parameters():
        p.copy_(torch.from_numpy(np.array(found.pop(gguf_name(name)), np.float32)))
    if found:
        sys.exit(f"{model}: tensors that the oracle does not have: {sorted(found)}")
    for tokens in sequences:
        oracle(torch.tensor([tokens])).logits[0].numpy().tofile(out)


PARTS = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    """A tensor's name in GGUF, from Hugging Face's."""
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    if name in whole:
        return whole[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{PARTS[rest.removesuffix('.weight')]}.weight"


def llama(model, sequences, out, library, threads):
    longest = max(map(len, sequences))
    engine = Llama(library, model, longest, threads, batch=longest)
    for tokens in sequences:
        engine.cut(0)
        engine.decode(tokens, 0, all_logits=True)
        np.ctypeslib.as_array(engine.logits(), (len(tokens), engine.vocab)).tofile(out)


def random(to, tokenizer):
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.set_grad_enabled(False)
    config = Qwen3Config(vocab_size=151936, hidden_size=1024, num_hidden_layers=28, intermediate_size=3072,
                         num_attention_heads=16, num_key_value_heads=8, head_dim=128, rms_norm_eps=1e-6, rope_theta=1e6,
                         max_position_embeddings=40960, tie_word_embeddings=True, dtype="bfloat16")
    model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    g = torch.Generator().manual_seed(1)
    spread = 4.0  # standard deviation of the logits: the likeliest of 151,936 tokens gets a probability of about a tenth
    for name, p in model.named_parameters():
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            v = torch.empty(p.shape).uniform_(0.8, 1.8, generator=g)
        elif name.endswith("norm.weight"):
            v = torch.empty(p.shape).uniform_(0.6, 1.4, generator=g)
        elif name.endswith("embed_tokens.weight"):
            v = torch.empty(p.shape).normal_(0, spread / config.hidden_size**0.5, generator=g)
        else:
            v = torch.empty(p.shape).normal_(0, p.shape[1]**-0.5, generator=g)
        p.copy_(v)
    model.save_pretrained(to)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(pathlib.Path(tokenizer, file), to)


command, arguments = sys.argv[1], sys.argv[2:]
if command == "random":
    random(*arguments)
else:
    model, sequences, path = arguments[:3]
    sequences = json.loads(pathlib.Path(sequences).read_text())
    with open(path, "wb") as out:
        if command == "transformers":
            transformers(model, sequences, out)
        else:
            llama(model, sequences, out, arguments[3], int(arguments[4]))
