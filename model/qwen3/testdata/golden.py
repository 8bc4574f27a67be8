"""Makes the golden models in Hugging Face's format, one for each feature of the configuration.

    python golden.py [name ...]      (Python 3.11, torch 2.15.0, transformers 5.23.0, numpy 2.4.6, safetensors 0.8.0)

Without names it makes all. common.py says what the files hold. Weights come from a seeded generator, so the
safetensors files are the same bytes on every machine; logprobs may differ in their last bits.
"""

import json
import shutil
import sys
import zlib

import torch
from common import HERE, load_directory, logprobs, randomize, write
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3ForCausalLM

SHORT = [(1, True), (33, True), (200, False)]
LONG = [(1, True), (33, True), (600, False)]

# name: (feature, changes to the config, options)
# Options: form (which transformers writes config.json: 4 or 5), dtype (of the files), spread (of the logits),
# lengths (of the sequences), shard (largest size of a file), unlike (changes to the config that must be noticed: each,
# made alone, has to move some logprob by SHOWS or more, else the golden would not prove that the feature works).
SHOWS = 1.0
MODELS = {
    "untied": ("a head of its own; 600 tokens", {}, {"lengths": LONG}),
    "tied": ("head = embedding; vocabulary not a multiple of 16",
             {"tie_word_embeddings": True, "hidden_size": 96, "intermediate_size": 224, "vocab_size": 333}, {}),
    "mha": ("one query head for each KV head; head_dim = hidden / heads; three layers; FFN 96",
            {"num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 3, "intermediate_size": 96,
             "vocab_size": 307}, {"form": 5}),
    "gqa4": ("four query heads for each of two KV heads", {"num_attention_heads": 8, "num_key_value_heads": 2}, {}),
    "mqa8": ("eight query heads, one KV head; theta 10,000; five layers; epsilon 0.01",
             {"num_attention_heads": 8, "num_key_value_heads": 1, "rope_theta": 10000.0, "num_hidden_layers": 5,
              "hidden_size": 32, "intermediate_size": 96, "rms_norm_eps": 0.01},
             {"form": 5, "unlike": [{"rms_norm_eps": 1e-6}, {"rope_theta": 1e6}]}),
    "head64": ("head_dim 64; three query heads for one KV head; tied",
               {"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 64, "hidden_size": 96,
                "tie_word_embeddings": True}, {"lengths": LONG}),
    "head128": ("head_dim 128; one layer; vocabulary 511",
                {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 128, "num_hidden_layers": 1,
                 "vocab_size": 511}, {"form": 5, "lengths": LONG}),
    "bias": ("biases on the q, k, v and o projections", {"attention_bias": True},
             {"form": 5, "unlike": [{"attention_bias": False}]}),
    "theta": ("theta 5,000,000", {"rope_theta": 5e6}, {"unlike": [{"rope_theta": 1e6}]}),
    "yarn": ("YaRN, as transformers 4 writes it; 600 tokens, 256 of them the original context",
             {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 64, "rope_theta": 10000.0,
              "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}},
             {"lengths": LONG, "unlike": [{"factor": 2.0}, {"original_max_position_embeddings": 1024}, {"attention_factor": 1.0}]}),
    "yarn5": ("YaRN with every parameter, as transformers 5 writes it; tied",
              {"tie_word_embeddings": True,
               "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 128,
                                "beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 0.9, "truncate": False}},
              {"form": 5, "lengths": LONG, "unlike": [{"beta_fast": 32.0}, {"beta_slow": 1.0}, {"attention_factor": None},
                                                      {"truncate": True}]}),
    "linear": ("linear rope scaling", {"rope_scaling": {"rope_type": "linear", "factor": 3.0}},
               {"form": 5, "unlike": [{"factor": 1.0}]}),
    "wide": ("hidden, attention and FFN widths multiples of 256; tied; one layer",
             {"tie_word_embeddings": True, "hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2,
              "head_dim": 64, "intermediate_size": 256, "num_hidden_layers": 1}, {"lengths": LONG}),
    "sharded": ("safetensors in several files with an index; three layers", {"num_hidden_layers": 3}, {"form": 5, "shard": "150KB"}),
    "float32": ("files in float32", {"num_hidden_layers": 1}, {"dtype": torch.float32, "form": 5}),
    "float16": ("files in float16", {"num_hidden_layers": 1}, {"dtype": torch.float16}),
}

BASE = {"vocab_size": 320, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 32, "intermediate_size": 160, "max_position_embeddings": 1024, "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0, "rope_scaling": None, "tie_word_embeddings": False, "attention_bias": False}

FORMAT = {torch.bfloat16: "bf16", torch.float16: "f16", torch.float32: "f32"}


def config4(values, dtype):
    """config.json as transformers 4.51 writes it for Qwen3."""
    return {"architectures": ["Qwen3ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 1,
            "hidden_act": "silu", "initializer_range": 0.02, "max_window_layers": 28, "model_type": "qwen3",
            "sliding_window": None, "torch_dtype": str(dtype).removeprefix("torch."), "transformers_version": "4.51.0",
            "use_cache": True, "use_sliding_window": False, **values}


def make(name, seed):
    feature, changes, options = MODELS[name]
    dtype = options.get("dtype", torch.bfloat16)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    values = {**BASE, **changes}
    model = Qwen3ForCausalLM(Qwen3Config(**json.loads(json.dumps(values)), bos_token_id=0, eos_token_id=1))
    randomize(model, seed, options.get("spread", 4.0))
    model = model.to(dtype)
    form = options.get("form", 4)
    if form == 5:
        model.config.dtype = dtype
        model.config.architectures = ["Qwen3ForCausalLM"]
        model.save_pretrained(folder, max_shard_size=options.get("shard", "50GB"))
        assert "rope_parameters" in (folder / "config.json").read_text()
        (folder / "generation_config.json").unlink(missing_ok=True)
    else:
        (folder / "config.json").write_text(json.dumps(config4(values, dtype), indent=2, sort_keys=True) + "\n")
        state = {k: v.contiguous() for k, v in model.state_dict().items()
                 if not (values["tie_word_embeddings"] and k == "lm_head.weight")}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    write(folder, name, feature, ".", FORMAT[dtype], load_directory(folder), seed, options.get("lengths", SHORT))
    for change in options.get("unlike", []):
        config = Qwen3Config.from_pretrained(folder)
        for key, value in change.items():
            if key in vars(config):
                setattr(config, key, value)
            else:
                config.rope_parameters[key] = value
        tokens = json.loads((folder / "golden.json").read_text())["sequences"][-1]["tokens"]
        other = Qwen3ForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32, attn_implementation="eager")
        moved = abs(logprobs(load_directory(folder)(torch.float32), tokens) - logprobs(other, tokens)).max()
        print(f"    {change} moves a logprob by {moved:.3f}")
        assert moved >= SHOWS, f"{name}: {change} hardly shows"


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        make(name, zlib.crc32(name.encode()))
