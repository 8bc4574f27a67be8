"""Writes to standard output what transformers computes as rotary frequencies for several config.json forms.

    python rope.py > rope.json          (torch 2.15, transformers 5.23)

Each line of the JSON array is {"name", "config", "inv_freq", "attention_factor"}: config is given to Qwen3Config as it is,
inv_freq holds the float32 values that Qwen3RotaryEmbedding would use.
"""

import copy
import json

from transformers import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

SHAPE = {"model_type": "qwen3", "hidden_size": 1024, "num_hidden_layers": 2, "num_attention_heads": 16,
         "num_key_value_heads": 8, "intermediate_size": 3072, "vocab_size": 512, "max_position_embeddings": 40960}

CASES = {
    "theta absent": {},
    "transformers 4": {"rope_theta": 1000000, "rope_scaling": None, "head_dim": 128},
    "transformers 5": {"rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}, "head_dim": 128},
    "head 64": {"rope_theta": 1e6, "head_dim": 64},
    "head 32, odd theta": {"rope_theta": 12345.678, "head_dim": 32},
    "head 6": {"rope_theta": 500.0, "head_dim": 6},
    "rope_scaling outranks rope_parameters": {
        "rope_theta": 5e5, "rope_parameters": {"rope_theta": 7e5, "rope_type": "default"},
        "rope_scaling": {"type": "linear", "factor": 2.0}},
    "linear": {"rope_theta": 1e6, "rope_scaling": {"rope_type": "linear", "factor": 3.7}},
    "yarn of the model card": {"rope_theta": 1e6, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}},
    "yarn, type": {"rope_theta": 1e6, "rope_scaling": {
        "type": "yarn", "factor": 2.5, "original_max_position_embeddings": 8192}},
    "yarn, original absent": {"rope_theta": 1e6, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
    "yarn, factor null": {"rope_theta": 1e6, "rope_scaling": {
        "rope_type": "yarn", "factor": None, "original_max_position_embeddings": 4096}},
    "yarn, transformers 5": {"head_dim": 64, "rope_parameters": {
        "rope_theta": 10000.0, "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 2048}},
    "yarn, betas": {"rope_theta": 1e6, "rope_scaling": {
        "rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096, "beta_fast": 16, "beta_slow": 2.5}},
    "yarn, attention factor": {"rope_theta": 1e6, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768, "attention_factor": 0.875}},
    "yarn, mscale": {"rope_theta": 1e6, "rope_scaling": {
        "rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096, "mscale": 0.707,
        "mscale_all_dim": 1.3}},
    "yarn, mscale alone": {"rope_theta": 1e6, "rope_scaling": {
        "rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096, "mscale": 0.707}},
    "yarn, not truncated": {"rope_theta": 1e6, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768, "truncate": False}},
    "yarn, factor 1": {"rope_theta": 1e6, "rope_scaling": {
        "rope_type": "yarn", "factor": 1.0, "original_max_position_embeddings": 40960}},
    "yarn, short original": {"rope_theta": 1e6, "head_dim": 32, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}},
    "yarn, tiny original": {"rope_theta": 1e6, "head_dim": 32, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 5}},
    "yarn, original of the model": {
        "rope_theta": 1e6, "original_max_position_embeddings": 1000,
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2000}},
    "llama3": {"rope_theta": 5e5, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0}},
    "llama3, transformers 5": {"head_dim": 64, "rope_parameters": {
        "rope_theta": 5e5, "rope_type": "llama3", "factor": 32.0, "original_max_position_embeddings": 4096,
        "low_freq_factor": 1.5, "high_freq_factor": 7.0}},
}

lines = []
for name, extra in CASES.items():
    config = {**SHAPE, **extra}
    rope = Qwen3RotaryEmbedding(Qwen3Config(**copy.deepcopy(config)))
    lines.append(json.dumps({"name": name, "config": config, "inv_freq": rope.inv_freq.tolist(),
                             "attention_factor": rope.attention_scaling}))
print("[\n" + ",\n".join(lines) + "\n]")
