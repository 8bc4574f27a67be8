"""Writes the goldens of package weights with the PyPI packages gguf, safetensors and torch:

  python files.py DIRECTORY        writes them
  python files.py --read FILE      prints what gguf reads in a GGUF file, tensors as in want.json and metadata

  DIRECTORY/model.gguf                 a tensor of each format, metadata of each type
  DIRECTORY/single/model.safetensors   one file
  DIRECTORY/sharded/                   two shards and their index, as transformers writes them
  DIRECTORY/want.json                  what is in them, by path: a list of name, stored type, shape and bytes in hex
"""
import json
import pathlib
import sys

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

FORMATS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]


def gguf_file(path, rng):
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_block_count(2)
    writer.add_rope_freq_base(1e6)
    writer.add_uint8("test.u8", 255)
    writer.add_int8("test.i8", -128)
    writer.add_uint16("test.u16", 65535)
    writer.add_int16("test.i16", -32768)
    writer.add_int32("test.i32", -5)
    writer.add_uint64("test.u64", 2**40)
    writer.add_int64("test.i64", -2**40)
    writer.add_float64("test.f64", 0.1)
    writer.add_bool("test.bool", True)
    writer.add_token_list(["a", "ü", "<|im_end|>"])
    writer.add_token_types([1, 1, 3])
    writer.add_array("test.scores", [0.5, -1.5])
    want = []
    for name in FORMATS:
        kind = gguf.GGMLQuantizationType[name]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        stored = np.frombuffer(rng.bytes(3 * 2 * size), dtype=np.uint8).reshape(3, 2 * size)
        if name == "F32":
            data, kwargs = stored.view(np.float32), {}
        elif name == "F16":
            data, kwargs = stored.view(np.float16), {}
        else:
            data, kwargs = stored, {"raw_dtype": kind}
        writer.add_tensor(f"blk.0.{name.lower()}.weight", data, **kwargs)
        want.append([f"blk.0.{name.lower()}.weight", name, [3, 2 * block], stored.tobytes().hex()])
    norm = rng.standard_normal(7).astype(np.float32)
    writer.add_tensor("output_norm.weight", norm)
    want.append(["output_norm.weight", "F32", [7], norm.tobytes().hex()])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return want


def safetensors_file(path, names, rng):
    kinds = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "BOOL": torch.uint8}
    tensors, want = {}, []
    for name, dtype, shape in names:
        stored = np.frombuffer(rng.bytes(int(np.prod(shape)) * kinds[dtype].itemsize), dtype=np.uint8).copy()
        if dtype == "BOOL":
            stored &= 1
        t = torch.from_numpy(stored).view(kinds[dtype]).reshape(shape) if stored.size else torch.empty(shape, dtype=kinds[dtype])
        tensors[name] = t.bool() if dtype == "BOOL" else t
        want.append([name, dtype, shape, stored.tobytes().hex()])
    save_file(tensors, path, {"format": "pt"})
    return want


def main(directory):
    rng = np.random.default_rng(3)
    (directory / "single").mkdir(parents=True, exist_ok=True)
    (directory / "sharded").mkdir(exist_ok=True)
    want = {"model.gguf": gguf_file(directory / "model.gguf", rng)}
    want["single"] = safetensors_file(directory / "single" / "model.safetensors", [
        ("model.embed_tokens.weight", "BF16", [5, 8]), ("model.norm.weight", "F32", [8]),
        ("lm_head.weight", "F16", [5, 8]), ("scalar", "F32", []), ("empty", "F32", [0, 8]),
        ("stack", "BF16", [2, 3, 4]), ("position_ids", "I64", [1, 4]), ("mask", "BOOL", [3]),
    ], rng)
    shards = [
        ("model-00001-of-00002.safetensors", [("model.embed_tokens.weight", "BF16", [5, 8]), ("model.layers.0.mlp.up_proj.weight", "BF16", [6, 8])]),
        ("model-00002-of-00002.safetensors", [("model.layers.1.mlp.up_proj.weight", "BF16", [6, 8]), ("model.norm.weight", "BF16", [8])]),
    ]
    want["sharded"], weight_map = [], {}
    for file, names in shards:
        want["sharded"] += safetensors_file(directory / "sharded" / file, names, rng)
        weight_map |= {name: file for name, _, _ in names}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (directory / "sharded" / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    (directory / "want.json").write_text(json.dumps(want) + "\n")


def read(path):
    reader = gguf.GGUFReader(path)
    tensors = [[t.name, t.tensor_type.name, [int(n) for n in reversed(t.shape)], t.data.tobytes().hex()] for t in reader.tensors]
    metadata = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    print(json.dumps({"tensors": tensors, "metadata": metadata}))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--read":
        read(sys.argv[2])
    elif len(sys.argv) == 2:
        main(pathlib.Path(sys.argv[1]))
    else:
        sys.exit(__doc__)
