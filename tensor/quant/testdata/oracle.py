"""Decodes and encodes weight formats for the tests of package quant, by others' code.

  python oracle.py serve            answers the tests: lines "decode FORMAT BYTES" or "encode FORMAT BYTES" on standard
                                    input, each followed by that many bytes; answers a line with the number of bytes
                                    that follow, then those bytes
  python oracle.py goldens [LIB]    prints goldens.jsonl

The oracle is the package gguf of PyPI, which decodes every format and encodes those that are not K-quants. K-quants are
encoded by LIB, ggml as a shared library (libggml-base.so) of llama.cpp, built with -ffp-contract=off and without
-march, so that C rounds every product; without LIB their encodings are left out.
"""
import ctypes
import json
import sys

import numpy as np
from gguf import GGMLQuantizationType, quants

BLOCK = {"f32": (1, 4), "f16": (1, 2), "bf16": (1, 2), "q8_0": (32, 34), "q4_0": (32, 18), "q4_1": (32, 20),
         "q5_0": (32, 22), "q5_1": (32, 24), "q4_k": (256, 144), "q5_k": (256, 176), "q6_k": (256, 210)}
K_QUANTS = ["q4_k", "q5_k", "q6_k"]


def gguf_type(name):
    return GGMLQuantizationType[name.upper()]


def decode(name, data):
    rows = np.frombuffer(data, dtype=np.uint8).reshape(1, -1)
    with np.errstate(all="ignore"):
        return quants.dequantize(rows, gguf_type(name)).astype("<f4").tobytes()


def encode(name, data, lib=None):
    values = np.frombuffer(data, dtype="<f4")
    if name in K_QUANTS:
        block, size = BLOCK[name]
        out = ctypes.create_string_buffer(len(values) // block * size)
        function = getattr(lib, f"quantize_row_{name[:-1]}K_ref")
        function(values.ctypes.data_as(ctypes.c_void_p), out, ctypes.c_int64(len(values)))
        return out.raw
    with np.errstate(all="ignore"):
        return quants.quantize(values.reshape(1, -1), gguf_type(name)).tobytes()


def serve():
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while line := stdin.readline():
        op, name, size = line.decode().split()
        data = stdin.read(int(size))
        answer = decode(name, data) if op == "decode" else encode(name, data)
        stdout.write(b"%d\n" % len(answer) + answer)
        stdout.flush()


def half(bits):
    return np.array(bits, dtype="<u2").tobytes()


def blocks_to_decode(name, rng):
    """Random blocks, then blocks whose scales are zero, denormal, the largest, infinite and NaN."""
    block, size = BLOCK[name]
    if block == 1:
        return rng.bytes(64 * size)
    scale_at = {"q6_k": [208], "q4_1": [0, 2], "q5_1": [0, 2], "q4_k": [0, 2], "q5_k": [0, 2]}.get(name, [0])
    out = rng.bytes(size)
    for bits in [0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0xfc00, 0x7e00]:
        b = bytearray(rng.bytes(size))
        for at in scale_at:
            b[at:at + 2] = half(bits)
        out += bytes(b)
    return out


def values_to_encode(name, rng):
    """Blocks as weights have them, and blocks that are hard: zeros, constants, one outlier, ties, tiny, huge."""
    block = max(BLOCK[name][0], 32)
    ramp = np.arange(block) - block / 2
    blocks = [
        rng.standard_normal(block) * 0.02,
        rng.standard_normal(block) * np.exp(rng.standard_normal(block)),
        rng.uniform(0, 1, block),
        -rng.uniform(0.5, 1, block),
        np.zeros(block),
        np.full(block, 0.37),
        np.full(block, -2.5),
        np.where(np.arange(block) == 5, 100.0, 0.01 * rng.standard_normal(block)),
        ramp,
        ramp / 2,
        np.where(np.arange(block) % 64 < 32, 0.0, rng.standard_normal(block)),
        rng.standard_normal(block) * 1e-7,
        rng.standard_normal(block) * 1e-20,
        rng.standard_normal(block) * 1e4,
    ]
    if name in ("f16", "bf16", "f32"):
        blocks.append(np.resize([0.0, -0.0, 65504, 65519.99, 65520, 1e38, np.inf, -np.inf, 6e-8, 2.9e-8, 3e-8, 1e-45], block))
    return np.concatenate(blocks).astype("<f4").tobytes()


def goldens(lib):
    for name in BLOCK:
        rng = np.random.default_rng(7)
        data = blocks_to_decode(name, rng)
        print(json.dumps({"op": "decode", "format": name, "in": data.hex(), "out": decode(name, data).hex()}))
        if name in K_QUANTS and lib is None:
            continue
        data = values_to_encode(name, rng)
        print(json.dumps({"op": "encode", "format": name, "in": data.hex(), "out": encode(name, data, lib).hex()}))


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["goldens"]:
        goldens(ctypes.CDLL(sys.argv[2]) if len(sys.argv) > 2 else None)
    else:
        sys.exit(__doc__)
