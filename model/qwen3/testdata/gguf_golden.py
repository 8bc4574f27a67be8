"""Makes the golden GGUF files: a small Qwen3 model in each weight format, and two with a format of its own for each matrix.

    python gguf_golden.py [name ...]      (gguf 0.19.0, torch 2.15.0, transformers 5.23.0, numpy 2.4.6; e2e.py must have run)

A folder gguf/NAME holds model.gguf, complete with the tokenizer of e2e/talk, golden.json and logprobs.bin (common.py says
what is in them). The oracle is transformers in float32 on the weights that the gguf package decodes from the file.
"""

import json
import pathlib
import shutil
import sys
import tempfile
import zlib

import gguf
import numpy as np
import torch
from common import HERE, load_directory, randomize, write
from quants import Q, encode
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3ForCausalLM

SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
         "intermediate_size": 96}
MEDIUM = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
          "intermediate_size": 160}
LARGE = {"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
         "intermediate_size": 256}
UNTIED = {"tie_word_embeddings": False}
LENGTHS = [(1, True), (20, True), (150, False)]

# name: (feature, shape, format of a matrix by its GGUF name without "blk.", default under "")
MODELS = {
    "f32": ("F32", SMALL, {"": Q.F32}),
    "f16": ("F16", SMALL | UNTIED, {"": Q.F16}),
    "bf16": ("BF16", SMALL, {"": Q.BF16}),
    "q8_0": ("Q8_0; untied", MEDIUM | UNTIED, {"": Q.Q8_0}),
    "q4_0": ("Q4_0", MEDIUM, {"": Q.Q4_0}),
    "q4_1": ("Q4_1", MEDIUM, {"": Q.Q4_1}),
    "q5_0": ("Q5_0", MEDIUM, {"": Q.Q5_0}),
    "q5_1": ("Q5_1; untied", MEDIUM | UNTIED, {"": Q.Q5_1}),
    "q4_k": ("Q4_K; rows of one block and of two", LARGE | {"intermediate_size": 512}, {"": Q.Q4_K}),
    "q5_k": ("Q5_K", LARGE, {"": Q.Q5_K}),
    "q6_k": ("Q6_K", LARGE, {"": Q.Q6_K}),
    "q4_k_m": ("the mixture of a Q4_K_M file: Q6_K for v and down of the first layer and for the head; up in Q5_K besides",
               LARGE | UNTIED | {"num_hidden_layers": 2},
               {"": Q.Q4_K, "0.attn_v": Q.Q6_K, "0.ffn_down": Q.Q6_K, "output": Q.Q6_K, "1.ffn_up": Q.Q5_K}),
    "mixed": ("every matrix in another format",
              SMALL | UNTIED,
              {"": Q.F16, "0.attn_q": Q.Q5_0, "0.attn_k": Q.Q8_0, "0.attn_v": Q.F16, "0.attn_output": Q.Q4_1,
               "0.ffn_gate": Q.Q4_0, "0.ffn_up": Q.Q5_1, "0.ffn_down": Q.BF16, "1.attn_q": Q.F32, "1.attn_k": Q.BF16,
               "1.attn_v": Q.Q5_1, "1.attn_output": Q.Q8_0, "1.ffn_gate": Q.Q8_0, "1.ffn_up": Q.F32, "1.ffn_down": Q.Q5_0,
               "token_embd": Q.Q8_0, "output": Q.Q5_0}),
    "yarn": ("YaRN in the metadata; Q8_0", SMALL | {"rope_theta": 10000.0, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 16.0}}, {"": Q.Q8_0}),
}
BASE = {"vocab_size": 384, "max_position_embeddings": 1024, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
        "tie_word_embeddings": True}

# Hugging Face's names beside GGUF's.
NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}
PARTS = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    if name in NAMES:
        return NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{PARTS[rest.removesuffix('.weight')]}.weight"


def write_file(path, config, tensors, tokenizer):
    """tensors: (GGUF name, float32 array, format). tokenizer: a Hugging Face directory."""
    w = gguf.GGUFWriter(path, "qwen3")
    w.add_name("golden")
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_key_length(config.head_dim)
    w.add_value_length(config.head_dim)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    w.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        w.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
    w.add_quantization_version(2)
    add_tokenizer(w, config.vocab_size, tokenizer)
    for name, values, fmt in tensors:
        if fmt in (Q.F32, Q.F16):
            w.add_tensor(name, encode(values, fmt))
        else:
            w.add_tensor(name, encode(values, fmt), raw_dtype=fmt)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def add_tokenizer(w, vocab, folder):
    """The keys that llama.cpp's converter writes for a byte-level BPE of Qwen's."""
    whole = json.loads((folder / "tokenizer.json").read_text())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    tokens = [f"[PAD{i}]" for i in range(vocab)]
    types = [gguf.TokenType.UNUSED] * vocab
    for token, i in whole["model"]["vocab"].items():
        tokens[i], types[i] = token, gguf.TokenType.NORMAL
    ids = {}
    for a in whole["added_tokens"]:
        tokens[a["id"]] = a["content"]
        types[a["id"]] = gguf.TokenType.CONTROL if a["special"] else gguf.TokenType.USER_DEFINED
        ids[a["content"]] = a["id"]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in whole["model"]["merges"]])
    w.add_eos_token_id(ids["<|im_end|>"])
    w.add_pad_token_id(ids["<|endoftext|>"])
    w.add_bos_token_id(ids["<|endoftext|>"])
    w.add_add_bos_token(False)
    w.add_chat_template(config["chat_template"])
    generation = json.loads((folder / "generation_config.json").read_text())
    w.add_sampling_temp(generation["temperature"])
    w.add_sampling_top_k(generation["top_k"])
    w.add_sampling_top_p(generation["top_p"])


def decode_file(path, config, folder):
    """Writes the weights that the gguf package decodes as a float32 Hugging Face directory."""
    found = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).reshape(t.shape[::-1].tolist())
             for t in gguf.GGUFReader(path).tensors}
    config.save_pretrained(folder)
    names = Qwen3ForCausalLM(config).state_dict().keys()
    state = {n: torch.from_numpy(np.array(found[gguf_name(n)], np.float32)) for n in names if gguf_name(n) in found}
    assert len(state) == len(found)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def make(name):
    feature, shape, formats = MODELS[name]
    seed = zlib.crc32(b"gguf " + name.encode())
    folder = HERE / "gguf" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = Qwen3Config(**json.loads(json.dumps(BASE | shape)))
    model = Qwen3ForCausalLM(config)
    randomize(model, seed, 4.0)
    tensors = []
    for hf, p in model.state_dict().items():
        if hf == "lm_head.weight" and config.tie_word_embeddings:
            continue
        key = gguf_name(hf)
        fmt = Q.F32 if p.ndim == 1 else formats.get(key.removeprefix("blk.").removesuffix(".weight"), formats[""])
        tensors.append((key, p.float().numpy(), fmt))
    write_file(folder / "model.gguf", config, tensors, HERE / "e2e" / "talk")
    with tempfile.TemporaryDirectory() as decoded:
        decode_file(folder / "model.gguf", config, pathlib.Path(decoded))
        write(folder, "gguf/" + name, feature, "model.gguf", formats[""].name.lower() if len(formats) == 1 else "mixed",
              load_directory(decoded), seed, LENGTHS)


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        make(name)
