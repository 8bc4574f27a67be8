"""Writes ../unicode.bin: what the `tokenizers` package knows about each code point.

    python testdata/unicode.py

Everything is asked of the package itself, since its parts carry Unicode tables of
different ages: the regular expressions of its pre-tokenizers, those of its added
tokens, and its normalizer. The file is a two-level table of bytes: 8,704 block
numbers (code point >> 7), then the blocks of 128 bytes. unicode.go names the bits.
"""

import os

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

LETTER, NUMBER, SPACE, WORD = 1, 2, 4, 8
DECOMPOSES, MARK, JOINS, CHANGES = 16, 32, 64, 128

SIZE = 0x110000
POINTS = [c for c in range(SIZE) if not 0xD800 <= c < 0xE000]


def matching(pattern):
    """The code points that the pre-tokenizers' regular expressions match."""
    remove = pre_tokenizers.Split(Regex(pattern), "removed")
    found = set()
    for i in range(0, len(POINTS), 4096):
        text = "".join(map(chr, POINTS[i : i + 4096]))
        kept = set()
        for piece, _ in remove.pre_tokenize_str(text):
            kept.update(piece)
        found.update(ord(c) for c in text if c not in kept)
    return found


def words():
    """The code points that border a word for an added token with single_word."""
    t = Tokenizer(models.BPE({"a": 0}, []))
    t.add_tokens([AddedToken("+", single_word=True, normalized=False)])
    added = t.token_to_id("+")
    found = set()
    for i in range(0, len(POINTS), 65536):
        part = [c for c in POINTS[i : i + 65536] if c != ord("+")]
        for c, e in zip(part, t.encode_batch([chr(c) + "+" for c in part])):
            if added not in e.ids:
                found.add(c)
    return found


def main():
    nfc, nfd = normalizers.NFC().normalize_str, normalizers.NFD().normalize_str
    table = bytearray(SIZE)

    def mark(points, bit):
        for c in points:
            table[c] |= bit

    mark(matching(r"\p{L}"), LETTER)
    mark(matching(r"\p{N}"), NUMBER)
    mark(matching(r"\s"), SPACE)
    mark(words(), WORD)

    decomposed = {c: nfd(chr(c)) for c in POINTS}
    decomposes = {c for c in POINTS if decomposed[c] != chr(c)}
    mark(decomposes, DECOMPOSES)
    mark((c for c in POINTS if nfc(chr(c)) != chr(c)), CHANGES)
    # A mark changes places with one of a higher class before it (U+0345 has the
    # highest, 240) or of a lower class behind it (U+0334 has the lowest, 1).
    high, low = "\u0345", "\u0334"
    for c in POINTS:
        s = chr(c)
        if c not in decomposes and (nfd(high + s) != high + s or nfd(s + low) != s + low):
            table[c] |= MARK
    # What decomposes to marks alone (U+0344) is a mark too.
    for c in decomposes:
        if all(table[ord(d)] & MARK for d in decomposed[c]):
            table[c] |= MARK
    # The last part of each decomposition that comes back together.
    for c in decomposes:
        if nfc(chr(c)) == chr(c):
            table[ord(decomposed[c][-1])] |= JOINS

    blocks, index = {}, bytearray()
    for i in range(0, SIZE, 128):
        b = bytes(table[i : i + 128])
        index.append(blocks.setdefault(b, len(blocks)))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "unicode.bin")
    with open(path, "wb") as f:
        f.write(index)
        for b in blocks:
            f.write(b)
    print(len(blocks), "blocks")


main()
