"""llama.cpp through its shared library: enough of llama.h of libllama 0.5.0, which llama-cpp-python 0.3.36 builds."""
import ctypes
import sys

POINTER, INT32 = ctypes.c_void_p, ctypes.c_int32
CACHE = {"f32": 0, "f16": 1, "q8_0": 8, "bf16": 30}  # ggml_type of a KV cache


class ModelParams(ctypes.Structure):
    _fields_ = [("devices", POINTER), ("tensor_buft_overrides", POINTER), ("n_gpu_layers", INT32), ("split_mode", INT32),
                ("load_mode", INT32), ("lazy_mode", INT32), ("main_gpu", INT32), ("tensor_split", POINTER),
                ("progress_callback", POINTER), ("progress_callback_user_data", POINTER), ("kv_overrides", POINTER)]
    _fields_ += [(n, ctypes.c_bool) for n in (
        "vocab_only", "check_tensors", "use_extra_bufts", "no_host", "no_alloc", "load_mtp")]


class ContextParams(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint32) for n in (
        "n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq", "n_outputs_max", "n_outputs_max_per_seq")]
    _fields_ += [(n, INT32) for n in (
        "n_threads", "n_threads_batch", "ctx_type", "rope_scaling_type", "pooling_type", "attention_type", "flash_attn_type")]
    _fields_ += [(n, ctypes.c_float) for n in (
        "rope_freq_base", "rope_freq_scale", "yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow")]
    _fields_ += [("yarn_orig_ctx", ctypes.c_uint32), ("defrag_thold", ctypes.c_float), ("cb_eval", POINTER),
                 ("cb_eval_user_data", POINTER), ("type_k", INT32), ("type_v", INT32), ("abort_callback", POINTER),
                 ("abort_callback_data", POINTER)]
    _fields_ += [(n, ctypes.c_bool) for n in ("embeddings", "offload_kqv", "no_perf", "op_offload", "swa_full", "kv_unified")]
    _fields_ += [("samplers", POINTER), ("n_samplers", ctypes.c_size_t), ("ctx_other", POINTER)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", INT32), ("token", ctypes.POINTER(INT32)), ("embd", POINTER), ("pos", ctypes.POINTER(INT32)),
                ("n_seq_id", ctypes.POINTER(INT32)), ("seq_id", ctypes.POINTER(ctypes.POINTER(INT32))),
                ("logits", ctypes.POINTER(ctypes.c_int8))]


class Llama:
    """One sequence of at most context tokens, with llama.cpp's defaults for everything else."""

    def __init__(self, library, model, context, threads, kv="f16", batch=None):
        self.lib = ctypes.CDLL(library)
        log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, POINTER)
        self.silent = log(lambda *_: None)
        self.call("llama_log_set", None, (log, self.silent), (POINTER, None))
        self.call("llama_backend_init", None)
        mp = self.call("llama_model_default_params", ModelParams)
        cp = self.call("llama_context_default_params", ContextParams)
        known = (cp.n_ctx, cp.n_batch, cp.n_ubatch, cp.type_k, cp.type_v, cp.yarn_orig_ctx, cp.offload_kqv, mp.use_extra_bufts)
        if known != (512, 2048, 512, 1, 1, 0, True, True):
            sys.exit(f"{library}: its structures are not those of libllama 0.5.0, the version that this script knows")
        loaded = self.call("llama_model_load_from_file", POINTER, (ctypes.c_char_p, model.encode()), (ModelParams, mp))
        if not loaded:
            sys.exit(f"{model}: llama.cpp does not load it")
        cp.n_ctx, cp.n_batch = context, batch or cp.n_batch
        cp.n_outputs_max, cp.n_outputs_max_per_seq = 0, 0
        cp.n_threads = cp.n_threads_batch = threads
        cp.type_k = cp.type_v = CACHE[kv]
        self.context = self.call("llama_init_from_model", POINTER, (POINTER, loaded), (ContextParams, cp))
        if not self.context:
            sys.exit(f"{model}: llama.cpp makes no context of {context} tokens in {kv}")
        self.memory = self.call("llama_get_memory", POINTER, (POINTER, self.context))
        vocabulary = self.call("llama_model_get_vocab", POINTER, (POINTER, loaded))
        self.vocab = self.call("llama_vocab_n_tokens", INT32, (POINTER, vocabulary))
        self.batch = self.call("llama_batch_init", Batch, (INT32, cp.n_batch), (INT32, 0), (INT32, 1))

    def call(self, name, result, *arguments):
        f = getattr(self.lib, name)
        f.restype, f.argtypes = result, [kind for kind, _ in arguments]
        return f(*(value for _, value in arguments))

    def decode(self, tokens, position, all_logits=False):
        """Runs tokens at their positions; logits of the last, or of all, are there afterwards."""
        b = self.batch
        b.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            b.token[i], b.pos[i], b.n_seq_id[i] = token, position + i, 1
            b.seq_id[i][0] = 0
            b.logits[i] = all_logits or i == len(tokens) - 1
        if code := self.call("llama_decode", INT32, (POINTER, self.context), (Batch, b)):
            sys.exit(f"llama_decode answers {code}")
        self.call("llama_synchronize", None, (POINTER, self.context))

    def logits(self):
        return self.call("llama_get_logits", ctypes.POINTER(ctypes.c_float), (POINTER, self.context))

    def cut(self, length):
        """Forgets everything from position length on."""
        self.call("llama_memory_seq_rm", ctypes.c_bool, (POINTER, self.memory), (INT32, 0), (INT32, length), (INT32, -1))

    def save(self, path):
        if not self.call("llama_state_seq_save_file", ctypes.c_size_t, (POINTER, self.context), (ctypes.c_char_p, path.encode()),
                         (INT32, 0), (POINTER, None), (ctypes.c_size_t, 0)):
            sys.exit(f"{path}: llama.cpp does not write its state")

    def load(self, path):
        # Without room for tokens llama.cpp 0.5.0 reads the file's head alone, and reports success.
        count, tokens = ctypes.c_size_t(), (INT32 * 1)()
        read = self.call("llama_state_seq_load_file", ctypes.c_size_t, (POINTER, self.context), (ctypes.c_char_p, path.encode()),
                         (INT32, 0), (POINTER, ctypes.addressof(tokens)), (ctypes.c_size_t, len(tokens)), (POINTER, ctypes.addressof(count)))
        if not read or self.call("llama_memory_seq_pos_max", INT32, (POINTER, self.memory), (INT32, 0)) < 0:
            sys.exit(f"{path}: llama.cpp does not read its state")
