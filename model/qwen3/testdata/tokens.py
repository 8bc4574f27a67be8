"""A small byte-level BPE tokenizer in the form of Qwen3's: the same normalizer, pre-tokenizer, decoder and special
tokens, but 256 bytes and a few dozen merges instead of 151,387."""

import json

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

# Qwen's pattern and special tokens, in the order of their ids.
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
           "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>"]
ADDED = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>",
         "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"]
MERGES = 90

TEMPLATE = """\
{%- for message in messages %}
    {%- set content = message.content if message.content else '' %}
    {%- if message.role == 'assistant' and '</think>' in content %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""


def byte_level():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)


def build(texts):
    """Learns MERGES merges from texts and returns the tokenizer."""
    t = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False, byte_fallback=False))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN), "isolated"), byte_level()])
    t.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    t.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=256 + MERGES, show_progress=False, special_tokens=[],
                                                     initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return t


def save(t, folder):
    """Writes tokenizer.json and tokenizer_config.json as Qwen3's repositories hold them."""
    whole = json.loads(t.to_str())
    first = len(whole["model"]["vocab"])
    whole["added_tokens"] = [
        {"id": first + i, "content": c, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": c in SPECIAL} for i, c in enumerate(SPECIAL + ADDED)]
    (folder / "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n")
    decoder = {str(a["id"]): {k: v for k, v in a.items() if k != "id"} for a in whole["added_tokens"]}
    config = {"add_bos_token": False, "add_prefix_space": False, "added_tokens_decoder": decoder,
              "additional_special_tokens": SPECIAL[1:], "bos_token": None, "chat_template": TEMPLATE,
              "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace",
              "model_max_length": 1024, "pad_token": "<|endoftext|>", "split_special_tokens": False,
              "tokenizer_class": "Qwen2Tokenizer", "unk_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n")
