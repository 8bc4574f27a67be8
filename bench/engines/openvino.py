"""Measures OpenVINO on an exported model; figures go to stdout as JSON, everything else to stderr.

openvino.py steps MODEL OPTIONS      prefill and decode, in tokens per second
openvino.py requests MODEL OPTIONS   requests by continuous batching: [{"prompt": [ids], "out": n}, ...] on stdin
OPTIONS is a JSON object: threads, precision (of the arithmetic), and what each command reads below.
"""
import json
import sys
import time

import numpy as np
import openvino as ov
import openvino_genai as genai


def properties(options):
    return {"INFERENCE_NUM_THREADS": options["threads"], "INFERENCE_PRECISION_HINT": options["precision"]}


def random_ids(rng, rows, columns):
    return rng.integers(0, 100000, (rows, columns), dtype=np.int64)


def exactly(n):
    """Greedy generation of n tokens, whatever they are."""
    return genai.GenerationConfig(max_new_tokens=n, min_new_tokens=n, ignore_eos=True, do_sample=False)


def prefill(model, options, rng):
    """A prompt's first token through the pipeline, which computes logits for the last position alone."""
    pipeline = genai.LLMPipeline(model, "CPU", ATTENTION_BACKEND="SDPA", **properties(options))
    for _ in range(2):  # the first warms up
        prompt = ov.Tensor(random_ids(rng, 1, options["prompt"]))
        begun = time.perf_counter()
        pipeline.generate(prompt, exactly(1))
        seconds = time.perf_counter() - begun
    return options["prompt"] / seconds


class Sequences:
    """A batch of sequences of equal length, one token a step, without the pipeline's own work."""

    def __init__(self, compiled, rows):
        self.request = compiled.create_infer_request()
        self.names = {i.get_any_name() for i in compiled.inputs}
        self.rows, self.length = rows, 0

    def step(self, ids):
        n = ids.shape[1]
        feed = {
            "input_ids": ids,
            "attention_mask": np.ones((self.rows, self.length + n), np.int64),
            "position_ids": np.tile(np.arange(self.length, self.length + n), (self.rows, 1)),
            "beam_idx": np.arange(self.rows, dtype=np.int32),
        }
        self.request.infer({k: v for k, v in feed.items() if k in self.names}, share_inputs=True, share_outputs=True)
        self.length += n


def decode(model, options, rng):
    compiled = ov.Core().compile_model(model + "/openvino_model.xml", "CPU", {**properties(options), "PERFORMANCE_HINT": "LATENCY"})
    for rows in options["batches"]:
        s = Sequences(compiled, rows)
        s.step(random_ids(rng, rows, options["depth"]))
        for _ in range(2):
            s.step(random_ids(rng, rows, 1))
        begun = time.perf_counter()
        for _ in range(options["generate"]):
            s.step(random_ids(rng, rows, 1))
        yield rows, rows * options["generate"] / (time.perf_counter() - begun)


def steps(model, options):
    rng = np.random.default_rng(0)
    figures = {"prefill": 0, "decode": {}}
    if options["prompt"]:
        figures["prefill"] = prefill(model, options, rng)
    if options["generate"]:
        figures["decode"] = dict(decode(model, options, rng))
    return figures


def requests(model, options):
    """All requests at once; a token has arrived when the step that made it has ended."""
    jobs = json.load(sys.stdin)
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = 2  # GB
    scheduler.max_num_seqs = options["seqs"]
    scheduler.max_num_batched_tokens = 512
    scheduler.dynamic_split_fuse = True
    pipeline = genai.ContinuousBatchingPipeline(model, scheduler, "CPU", properties(options))
    for attempt in range(2):  # the first warms up
        begun = time.perf_counter()
        handles = [pipeline.add_request(attempt * len(jobs) + i, ov.Tensor(np.array([j["prompt"]], np.int64)), exactly(j["out"]))
                   for i, j in enumerate(jobs)]
        arrivals = [[] for _ in jobs]
        while pipeline.has_non_finished_requests():
            pipeline.step()
            now = time.perf_counter() - begun
            for handle, times in zip(handles, arrivals):
                if handle.can_read():
                    times.extend([now] * sum(len(o.generated_ids) for o in handle.read().values()))
        seconds = time.perf_counter() - begun
    return {"seconds": seconds, "arrivals": arrivals}


command, model, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
print(json.dumps({"steps": steps, "requests": requests}[command](model, options)))
