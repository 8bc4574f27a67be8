"""Trains the guide's byte-level BPE vocabulary: Qwen3's normalizer, splitting
pattern and special tokens, with 2,048 tokens in all.

    python tokenizer.py --out DIR      writes DIR/tokenizer.json
"""

import argparse
import random
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from data import Data

VOCABULARY = 2048
SEED = 3
CONVERSATIONS = 60_000

# Qwen2's splitting pattern, which Qwen3 uses too.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Qwen3's added tokens in Qwen3's order. The first are special (a decoder may
# skip them), the others are text that happens to be one token.
SPECIAL = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
    "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>"
).split()
PLAIN = (
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> "
    "<tool_response> </tool_response> <think> </think>"
).split()


def shell(bpe):
    """A tokenizer around the BPE model with Qwen3's other parts."""
    tok = Tokenizer(bpe)
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    return tok


def added(texts, special):
    return [AddedToken(t, normalized=False, special=special) for t in texts]


def train():
    tok = shell(models.BPE())
    data, rng = Data(), random.Random(SEED)

    def texts():
        for _ in range(CONVERSATIONS):
            messages, _ = data.conversation(rng)
            for m in messages:
                # The newline stands for the template's own: role, text, thought.
                yield f"{m['role']}\n{m['content']}\n{m.get('thought', '')}\n\n"

    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(PLAIN),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[],
        show_progress=False,
    )
    tok.train_from_iterator(texts(), trainer)
    tok.add_special_tokens(added(SPECIAL, True))
    tok.add_tokens(added(PLAIN, False))
    if tok.get_vocab_size() != VOCABULARY:
        raise ValueError(f"the vocabulary has {tok.get_vocab_size()} tokens and not {VOCABULARY}")
    return tok


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tok = train()
    tok.save(str(args.out / "tokenizer.json"))
    sample = "How do I run `ullm serve Qwen/Qwen3-0.6B --port 9000`?"
    print(tok.encode(sample).tokens)


if __name__ == "__main__":
    main()
