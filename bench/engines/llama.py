"""Measures llama.cpp behind a long context, which takes it minutes to compute: so that is done once, and kept in a file.

llama.py context LIBRARY MODEL OPTIONS   computes the context, unless the file is there
llama.py deep LIBRARY MODEL OPTIONS      decode behind the context, and prefill of as many tokens; tokens per second as JSON
OPTIONS is a JSON object: threads, kv, depth, generate (0: no decode), prefill (whether), state (the file). libllama.py stands before this text.
"""
import json
import os
import random
import time

CHUNK = 512  # llama.cpp's own n_ubatch


def ids(n, seed=0):
    g = random.Random(seed)
    return [g.randrange(100000) for _ in range(n)]


def seconds(f):
    begun = time.perf_counter()
    f()
    return time.perf_counter() - begun


def context(llama, o):
    if os.path.exists(o["state"]):
        return
    tokens = ids(o["depth"])
    for at in range(0, len(tokens), CHUNK):
        llama.decode(tokens[at:at + CHUNK], at)
    llama.save(o["state"] + ".part")
    os.replace(o["state"] + ".part", o["state"])


def deep(llama, o):
    llama.load(o["state"])
    figures = {}
    if o["generate"]:
        figures["decode"] = decode(llama, o["depth"], o["generate"])
    if o["prefill"]:
        figures["prefill"] = prefill(llama, o["depth"])
    print(json.dumps(figures))


def decode(llama, depth, n):
    tokens, warm = ids(n + 2, 1), 2
    for i in range(warm):
        llama.decode(tokens[i:i + 1], depth + i)
    return n / seconds(lambda: [llama.decode(tokens[i:i + 1], depth + i) for i in range(warm, n + warm)])


def prefill(llama, depth):
    # A chunk costs a + b·(tokens before it): five of them give a and b, and those the sum over all chunks.
    points = []
    for i in (4, 3, 2, 1, 0):
        at = (depth - CHUNK) * i // 4
        llama.cut(at)
        points.append((at, seconds(lambda: llama.decode(ids(CHUNK, 3), at))))
    mean_at, mean_s = (sum(v) / len(points) for v in zip(*points))
    b = sum((at - mean_at) * (s - mean_s) for at, s in points) / sum((at - mean_at)**2 for at, _ in points)
    return CHUNK / (mean_s + b * ((depth - CHUNK) / 2 - mean_at))


what, library, model, options = sys.argv[1:]
options = json.loads(options)
{"context": context, "deep": deep}[what](
    Llama(library, model, options["depth"] + options["generate"] + 64, options["threads"], options["kv"]), options)
