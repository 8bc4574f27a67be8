"""Logits of a GGUF file at every position, for internal/kl: float32, [position][id], the sequences one after the other.

peers.py transformers MODEL.gguf SEQUENCES.json OUT          float32, on the weights that the gguf package decodes
peers.py llama MODEL.gguf SEQUENCES.json OUT LIBRARY THREADS llama.cpp at its defaults, through LIBRARY (libllama.so)
peers.py random DIR TOKENIZER                                writes a model in Qwen3-0.6B's shape as a Hugging Face directory,
                                                             with random weights whose logits spread like a trained model's
"""
import ctypes
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


class ModelParams(ctypes.Structure):
    """llama_model_params of libllama 0.5.0, the library of llama-cpp-python 0.3.36."""
    _fields_ = [("devices", ctypes.c_void_p), ("tensor_buft_overrides", ctypes.c_void_p), ("n_gpu_layers", ctypes.c_int32),
                ("split_mode", ctypes.c_int), ("load_mode", ctypes.c_int), ("lazy_mode", ctypes.c_int),
                ("main_gpu", ctypes.c_int32), ("tensor_split", ctypes.c_void_p), ("progress_callback", ctypes.c_void_p),
                ("progress_callback_user_data", ctypes.c_void_p), ("kv_overrides", ctypes.c_void_p),
                ("vocab_only", ctypes.c_bool), ("check_tensors", ctypes.c_bool), ("use_extra_bufts", ctypes.c_bool),
                ("no_host", ctypes.c_bool), ("no_alloc", ctypes.c_bool), ("load_mtp", ctypes.c_bool)]


class ContextParams(ctypes.Structure):
    """llama_context_params of the same."""
    _fields_ = [(n, ctypes.c_uint32) for n in (
        "n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq", "n_outputs_max", "n_outputs_max_per_seq")]
    _fields_ += [(n, ctypes.c_int32) for n in (
        "n_threads", "n_threads_batch", "ctx_type", "rope_scaling_type", "pooling_type", "attention_type", "flash_attn_type")]
    _fields_ += [(n, ctypes.c_float) for n in (
        "rope_freq_base", "rope_freq_scale", "yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow")]
    _fields_ += [("yarn_orig_ctx", ctypes.c_uint32), ("defrag_thold", ctypes.c_float), ("cb_eval", ctypes.c_void_p),
                 ("cb_eval_user_data", ctypes.c_void_p), ("type_k", ctypes.c_int), ("type_v", ctypes.c_int),
                 ("abort_callback", ctypes.c_void_p), ("abort_callback_data", ctypes.c_void_p)]
    _fields_ += [(n, ctypes.c_bool) for n in ("embeddings", "offload_kqv", "no_perf", "op_offload", "swa_full", "kv_unified")]
    _fields_ += [("samplers", ctypes.c_void_p), ("n_samplers", ctypes.c_size_t), ("ctx_other", ctypes.c_void_p)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8))]


def llama(model, sequences, out, library, threads):
    lib = ctypes.CDLL(library)

    def function(name, result, *arguments):
        f = getattr(lib, name)
        f.restype, f.argtypes = result, arguments
        return f

    pointer = ctypes.c_void_p
    log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, pointer)
    silent = log(lambda *_: None)
    function("llama_log_set", None, log, pointer)(silent, None)
    function("llama_backend_init", None)()
    mp = function("llama_model_default_params", ModelParams)()
    cp = function("llama_context_default_params", ContextParams)()
    if (cp.n_ctx, cp.n_batch, cp.n_ubatch, cp.type_k, cp.type_v, cp.yarn_orig_ctx, cp.offload_kqv, mp.use_extra_bufts) != (
            512, 2048, 512, 1, 1, 0, True, True):
        sys.exit(f"{library}: its structures are not those of libllama 0.5.0, which this script knows")
    loaded = function("llama_model_load_from_file", pointer, ctypes.c_char_p, ModelParams)(model.encode(), mp)
    if not loaded:
        sys.exit(f"{model}: llama.cpp does not load it")
    longest = max(map(len, sequences))
    cp.n_ctx, cp.n_batch, cp.n_outputs_max, cp.n_outputs_max_per_seq = longest, longest, 0, 0
    cp.n_threads = cp.n_threads_batch = threads
    context = function("llama_init_from_model", pointer, pointer, ContextParams)(loaded, cp)
    vocab = function("llama_vocab_n_tokens", ctypes.c_int32, pointer)(
        function("llama_model_get_vocab", pointer, pointer)(loaded))
    memory = function("llama_get_memory", pointer, pointer)(context)
    batch = function("llama_batch_init", Batch, ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)(longest, 0, 1)
    clear = function("llama_memory_clear", None, pointer, ctypes.c_bool)
    decode = function("llama_decode", ctypes.c_int32, pointer, Batch)
    logits = function("llama_get_logits", ctypes.POINTER(ctypes.c_float), pointer)
    for tokens in sequences:
        clear(memory, True)
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
            batch.seq_id[i][0] = 0
        if code := decode(context, batch):
            sys.exit(f"llama_decode answers {code}")
        np.ctypeslib.as_array(logits(context), (len(tokens), vocab)).tofile(out)


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
