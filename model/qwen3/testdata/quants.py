"""Valid Q4_K, Q5_K and Q6_K blocks from float32 rows: the gguf package decodes these formats but does not encode them.

The quantizers are plain (one pass, no search); what matters is that every field of a block is in use: all 6-bit scales and
minima, high bits, negative scales. The layouts are those of ggml's block_q4_K, block_q5_K and block_q6_K.
"""

import gguf
import numpy as np

Q = gguf.GGMLQuantizationType
BLOCK = 256


def encode(rows, fmt):
    """rows: float32 [n][width]. Returns uint8 [n][bytes], or an array of floats for F32 and F16."""
    if fmt == Q.F32:
        return rows.astype(np.float32)
    if fmt == Q.F16:
        return rows.astype(np.float16)
    if fmt not in K_QUANTS:
        return gguf.quants.quantize(rows, fmt)
    assert rows.shape[1] % BLOCK == 0
    blocks = K_QUANTS[fmt](rows.reshape(-1, BLOCK).astype(np.float32))
    return blocks.reshape(rows.shape[0], -1)


def half(x):
    """float16 as the bytes of a block and as what a decoder sees."""
    h = x.astype(np.float16)
    return h.view(np.uint8).reshape(len(x), 2), h.astype(np.float32)


def divide(a, b):
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape, np.float32), where=b != 0)


def affine(x, top):
    """What Q4_K and Q5_K share: x ≈ d·scale·q − dmin·minimum in eight parts of 32. Returns the two halves' bytes, the
    packed 12 bytes of scales, and q [n][8][32]."""
    parts = x.reshape(-1, 8, 32)
    low = np.minimum(parts.min(axis=2), 0)
    step = (parts.max(axis=2) - low) / top
    d_bytes, d = half(step.max(axis=1) / 63)
    m_bytes, dmin = half(-low.min(axis=1) / 63)
    scale = np.clip(np.rint(divide(step, d[:, None])), 0, 63).astype(np.uint8)
    minimum = np.clip(np.rint(divide(-low, dmin[:, None])), 0, 63).astype(np.uint8)
    size = (d[:, None] * scale)[:, :, None]
    q = np.clip(np.rint(divide(parts + (dmin[:, None] * minimum)[:, :, None], size)), 0, top).astype(np.uint8)
    packed = np.empty((len(x), 12), np.uint8)
    packed[:, 0:4] = scale[:, :4] | (scale[:, 4:] >> 4 << 6)
    packed[:, 4:8] = minimum[:, :4] | (minimum[:, 4:] >> 4 << 6)
    packed[:, 8:12] = (scale[:, 4:] & 15) | (minimum[:, 4:] & 15) << 4
    return d_bytes, m_bytes, packed, q


def nibbles(q):
    """q [n][8][32] → 128 bytes: parts 2i and 2i+1 share 32 bytes, the even one in the low halves."""
    q = q & 15
    return (q[:, 0::2] | q[:, 1::2] << 4).reshape(len(q), 128)


def q4_k(x):
    d, m, packed, q = affine(x, 15)
    return np.concatenate([d, m, packed, nibbles(q)], axis=1)


def q5_k(x):
    d, m, packed, q = affine(x, 31)
    high = np.zeros((len(x), 32), np.uint8)
    for part in range(8):
        high |= (q[:, part] >> 4) << part
    return np.concatenate([d, m, packed, high, nibbles(q)], axis=1)


def q6_k(x):
    """x ≈ d·scale·(q − 32) in sixteen parts of 16 with signed scales; every third part has a negative one."""
    parts = x.reshape(-1, 16, 16)
    step = np.abs(parts).max(axis=2) / 31
    step[:, ::3] *= -1
    d_bytes, d = half(np.abs(step).max(axis=1) / 127)
    scale = np.clip(np.rint(divide(step, d[:, None])), -128, 127).astype(np.int8)
    size = (d[:, None] * scale)[:, :, None]
    q = (np.clip(np.rint(divide(parts, size)), -32, 31) + 32).astype(np.uint8)
    q = q.reshape(-1, 2, 4, 32)  # in each half of the block, quarters of 32
    low = (q[:, :, 0:2] & 15) | (q[:, :, 2:4] & 15) << 4
    high = q[:, :, 0] >> 4 | q[:, :, 1] >> 4 << 2 | q[:, :, 2] >> 4 << 4 | q[:, :, 3] >> 4 << 6
    return np.concatenate([low.reshape(-1, 128), high.reshape(-1, 64), scale.view(np.uint8), d_bytes], axis=1)


K_QUANTS = {Q.Q4_K: q4_k, Q.Q5_K: q5_k, Q.Q6_K: q6_k}


if __name__ == "__main__":  # how far each format is from its source, relative to the largest value of a block
    x = np.random.default_rng(0).normal(0, 1, (64, 512)).astype(np.float32)
    for fmt in K_QUANTS:
        back = gguf.quants.dequantize(encode(x, fmt), fmt)
        print(fmt.name, float(np.abs(back - x).max()))
