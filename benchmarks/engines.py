"""What this CPU can do with the reader's model: prefill, decoding and memory in torch and in other engines.

    prefill    tokens a second of one pass over that many tokens of a text, to the logits after the last one
    decoding   tokens a second, greedy, one row, after 200 tokens of the text
    peak       peak resident memory of a process that loads the model and does both; 240 MB of it are torch and what
               else zprompt imports
    same       share of 100 tokens of the text after which the most likely next one is that of torch in fp32

The model is the default backbone, SmolLM2-135M-Instruct in 4 bits (Q4_1), without a LoRA or with one that adds nothing.
Each engine runs in a process of its own, one after the other, on the same text and as many threads; figures are medians
of rounds, in brackets the slowest and the fastest. An engine that is not installed, or fails, is listed with its
reason. Also the shipped reader: the peak of a process that loads it and answers one question from ten retrieved
passages; then seconds an answer, for 8 questions whose sentences are embedded already.

    torch fp32         as the codec computes                    torch bf16    the reader's engine="bf16"
    onnx reader        the reader's engine="onnx": weights in 4 bits as on disk, and a LoRA of rank 32
    torch int8, int4   weight-only, by torch's own kernels _weight_int8pack_mm and _weight_int4pack_mm_for_cpu
    onnx …             ONNX Runtime on the graph that onnxruntime-genai builds; int4 and int8: MatMulNBits
    openvino …         the same graph in OpenVINO: in its default precision here, and with int8 weights by NNCF
    llama.cpp          xllamacpp, on the GGUF itself. It takes no embeddings, so it cannot be a reader's engine

    python -m benchmarks.engines [--only "torch bf16" …] [--threads 2] [--rounds 5]

In an environment of its own, beside zprompt: pip install onnx onnx-ir onnxruntime-genai openvino nncf xllamacpp.
Writes engines.json and engines.md to benchmarks/results. Timings need an idle machine; on a busy one, --threads 1
--clock cpu counts the processor time of one thread, which other work lengthens less.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.common import DATA, RESULTS, Floats, Range, Row, describe_run, figures, joined_prose, wikipedia_file
from benchmarks.focus import read
from zprompt.eval import RunRecord, peak_megabytes, write_json

LENGTHS = (200, 500, 1500)
STEPS = 32  # tokens that a round of decoding writes
COMPARED = 100  # tokens after which the most likely next ones are compared
PATIENCE = 30.0  # seconds after which no further round of a figure is begun
IDS = "ids.json"  # the text, so that the processes that are measured need not read it
GROUP = 32  # weights that share a scale in 4 bits, as in the GGUF


READER_ENGINES = ("fp32", "onnx", "bf16")
READER = """
import json, sys, time, zprompt
from zprompt.eval import peak_megabytes
engine, questions, passages, rounds, patience = json.load(sys.stdin)
reader = zprompt.load_reader(engine=engine, device="cpu")
reader.answer(questions[0], passages[0])
row = {"peak, MB": peak_megabytes(), "alone": [], "together": []}
reader.answer(questions, passages)  # embeds the sentences
start = time.perf_counter()
while len(row["alone"]) < rounds and time.perf_counter() - start < patience:
    began = time.perf_counter()
    alone = [str(reader.answer(*pair)) for pair in zip(questions, passages)]
    between = time.perf_counter()
    together = [str(answer) for answer in reader.answer(questions, passages)]
    row["alone"].append((between - began) / len(questions))
    row["together"].append((time.perf_counter() - between) / len(questions))
print(json.dumps(row | {"answers": alone + together}))
"""
QUESTIONS = 8  # that the reader answers, each from ten passages

_EXCEPTION = re.compile(r"[\w.]+(?:Error|Exception)\b")  # the last line of a traceback; what libraries log may follow
Clock = Callable[[], float]  # seconds
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


class Model(Protocol):
    """A model that an engine runs, on one row."""

    def start(self, ids: Sequence[int]) -> int:
        """Read a text anew, and return the most likely next token."""

    def step(self, token: int) -> int:
        """Read one more token, and return the most likely next one."""


# Our decoders.


class OwnModel:
    """A decoder of one of the reader's engines, or ours with linear layers of another kind."""

    def __init__(self, engine: str) -> None:
        """Load the weights as the engine keeps them."""
        import torch

        from zprompt.llm import (
            LlamaDecoder,
            Lora,
            llama_of,
            llama_shape,
            load_backbone,
            merge_in_bf16,
            merge_in_onnx,
            new_lora,
        )

        self._torch, backbone = torch, load_backbone("default", device="cpu")
        self._decoder: Any
        if engine == "torch fp32":
            self._decoder, self._logits = llama_of(backbone), backbone.logits
            return
        if engine == "onnx reader":
            with torch.device("meta"):
                shapes = LlamaDecoder(llama_shape(backbone))
            self._decoder, head = merge_in_onnx(new_lora(shapes, 32, 32.0), backbone)
        else:
            self._decoder, head = merge_in_bf16(Lora(1, 1.0, {}, {}), backbone)
        self._logits = lambda hidden: (head @ hidden.T).T
        if engine in _LINEAR:
            _replace_linear(self._decoder, _LINEAR[engine])

    def start(self, ids: Sequence[int]) -> int:
        """Read a text anew, and return the most likely next token."""
        self._cache = self._decoder.new_cache(1)
        return self._read(ids)

    def step(self, token: int) -> int:
        """Read one more token, and return the most likely next one."""
        return self._read([token])

    def _read(self, ids: Sequence[int]) -> int:
        with self._torch.no_grad():
            embedded = self._decoder.embed_tokens(self._torch.tensor(ids)[None]).float()
            return int(self._logits(self._decoder.run(embedded, self._cache)[:, -1]).argmax())


def _replace_linear(decoder: Any, make: Callable[[Any], Callable[[Any], Any]]) -> None:  # noqa: ANN401 - torch's
    """Replace the projections of a decoder by products with weights in few bits."""
    from torch import nn

    from zprompt.llm import projections

    class Product(nn.Module):
        def __init__(self, weight: Any) -> None:  # noqa: ANN401 - a tensor
            super().__init__()
            self._multiply = make(weight)

        def forward(self, x: Any) -> Any:  # noqa: ANN401 - a tensor
            """Multiply the rows of (1, T, inputs)."""
            return self._multiply(x[0])[None]

    for name, module in list(projections(decoder)):
        decoder.set_submodule(name, Product(module.weight.float()))


def _int8_linear(weight: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - a tensor
    import torch

    scales = weight.abs().amax(1) / 127
    packed, rounded = (weight / scales[:, None]).round().to(torch.int8), scales.bfloat16()
    return lambda x: torch.ops.aten._weight_int8pack_mm(x, packed, rounded)


def _int4_linear(weight: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - a tensor
    import torch

    blocks = weight.view(len(weight), -1, GROUP)
    low = blocks.amin(2)
    scales = (blocks.amax(2) - low).clamp(min=1e-8) / 15
    levels = ((blocks - low[..., None]) / scales[..., None]).round().clamp(0, 15).to(torch.int32)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels.view_as(weight), 1)
    scales_and_zeros = torch.stack((scales, low + 8 * scales), 2).transpose(0, 1).contiguous().bfloat16()
    return lambda x: torch.ops.aten._weight_int4pack_mm_for_cpu(x, packed, GROUP, scales_and_zeros)


_LINEAR = {"torch int8": _int8_linear, "torch int4": _int4_linear}


# Engines that run the graph of onnxruntime-genai's builder, whose inputs are embeddings, keys and values.


class GraphModel:
    """A graph from embeddings, attention mask, and keys and values to logits, and keys and values."""

    def __init__(self, run: Callable[[dict[str, Any]], dict[str, Any]], folder: Path) -> None:
        """Run a graph.

        :param run: Returns its outputs by name, given its inputs.
        :param folder: Has the embeddings, and the sizes of the cache.
        """
        self._run = run
        self._embeddings: Floats = np.load(folder / "embeddings.npy", mmap_mode="r")
        self._layers, self._heads, self._size = json.loads((folder / "sizes.json").read_text("utf-8"))

    def start(self, ids: Sequence[int]) -> int:
        """Read a text anew, and return the most likely next token."""
        empty = np.zeros((1, self._heads, 0, self._size), np.float32)
        names = [f"{layer}.{part}" for layer in range(self._layers) for part in ("key", "value")]
        self._past, self._seen = dict.fromkeys(names, empty), 0
        return self._read(ids)

    def step(self, token: int) -> int:
        """Read one more token, and return the most likely next one."""
        return self._read([token])

    def _read(self, ids: Sequence[int]) -> int:
        self._seen += len(ids)
        outputs = self._run(
            {
                "inputs_embeds": np.array(self._embeddings[list(ids)], np.float32)[None],
                "attention_mask": np.ones((1, self._seen), np.int64),
                **{f"past_key_values.{name}": value for name, value in self._past.items()},
            }
        )
        self._past = {name: outputs[f"present.{name}"] for name in self._past}
        return int(outputs["logits"][0, -1].argmax())


def load_onnx(engine: str, folder: Path, threads: int) -> GraphModel:
    """Load a graph in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / engine.split()[1] / "model.onnx", options)
    names = [output.name for output in session.get_outputs()]
    return GraphModel(lambda inputs: dict(zip(names, session.run(None, inputs), strict=True)), folder)


def load_openvino(engine: str, folder: Path, threads: int) -> GraphModel:
    """Load the fp32 graph in OpenVINO, which chooses its precision for this CPU, or with int8 weights."""
    import openvino

    core = openvino.Core()
    model = core.read_model(folder / "fp32" / "model.onnx")
    if engine == "openvino int8":
        import nncf

        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = request.infer(inputs, share_inputs=True)
        return {port.any_name: value for port, value in outputs.items()}

    return GraphModel(run, folder)


def build_graphs(folder: Path) -> None:
    """Write the backbone in the format of transformers, and graphs of it in fp32, 4 bits and 8 bits."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    from zprompt.llm import as_transformers, llama_of, load_backbone, pull

    backbone = load_backbone("default", device="cpu")
    decoder = llama_of(backbone)
    shape = decoder.shape
    as_transformers(decoder, backbone.output_embeddings, pull("default")).save_pretrained(folder / "model")
    backbone.tokenizer.backend.save(str(folder / "model" / "tokenizer.json"))
    _write_json(folder / "model" / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    ends = sorted(backbone.end_ids)
    _write_json(folder / "model" / "generation_config.json", {"bos_token_id": 1, "eos_token_id": ends})
    config = json.loads((folder / "model" / "config.json").read_text("utf-8"))
    _write_json(folder / "model" / "config.json", {**config, "rope_theta": shape.rope_theta})  # as transformers 4
    np.save(folder / "embeddings.npy", backbone.embeddings.numpy())
    _write_json(folder / "sizes.json", [shape.layers, shape.key_heads, shape.head_size])
    for kind in ("fp32", "int4"):
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(folder / "model")]
        command += ["-o", str(folder / kind), "-p", kind, "-e", "cpu", "-c", str(folder / "cache")]
        _run([*command, "--extra_options", "exclude_embeds=true"])
    algorithm = DefaultWeightOnlyQuantConfig(block_size=GROUP, is_symmetric=True, bits=8)
    quantizer = MatMulNBitsQuantizer(onnx.load(folder / "fp32" / "model.onnx"), algo_config=algorithm)
    quantizer.process()
    (folder / "int8").mkdir()
    quantizer.model.save_model_to_file(str(folder / "int8" / "model.onnx"), use_external_data_format=True)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), "utf-8")


# llama.cpp.


class LlamaCppModel:
    """The GGUF in llama.cpp, through the JSON interface of its server."""

    def __init__(self, threads: int) -> None:
        """Load the model."""
        import xllamacpp

        from zprompt.llm import TextTokenizer, pull

        self._encode = TextTokenizer.from_folder(pull("default")).encode
        params = xllamacpp.CommonParams()
        params.model.path = str(pull("default") / "model.gguf")
        params.n_ctx, params.n_batch, params.n_parallel = 2048, 2048, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.n_gpu_layers, params.warmup = 0, True
        self._server = xllamacpp.Server(params)

    def complete(self, ids: Sequence[int], tokens: int) -> dict[str, Any]:
        """Continue a text; the response has the server's own times."""
        request = {"prompt": list(ids), "n_predict": tokens, "temperature": 0, "cache_prompt": False}
        return dict(self._server.handle_completions({**request, "ignore_eos": True}))

    def next(self, ids: Sequence[int]) -> int:
        """Return the most likely next token, which the server gives as text; -1 for a part of a character."""
        return next(iter(self._encode(self.complete(ids, 1)["choices"][0]["text"])), -1)


# What is measured.

OWN = ("torch fp32", "torch bf16", "onnx reader", "torch int8", "torch int4")
GRAPHS = ("onnx fp32", "onnx int8", "onnx int4", "openvino default", "openvino int8")
ENGINES = (*OWN, *GRAPHS, "llama.cpp")
NOT_MEASURED = {
    "torchao int4": "its int4 layout for CPUs calls the same kernel as torch int4; its other CPU kernels are not in "
    "the wheel, whose libraries are for CUDA",
    "llama-cpp-python": "there is no wheel for it, only for llama.cpp through xllamacpp",
}


def measure(engine: str, folder: Path, ids: Sequence[int], options: argparse.Namespace) -> Row:
    """Measure an engine in this process."""
    threads, clock, rounds = options.threads, CLOCKS[options.clock], options.rounds
    if engine == "llama.cpp":
        row = _measure_llama_cpp(LlamaCppModel(threads), ids, clock, rounds)
    else:
        row = _measure_model(_load(engine, folder, threads), ids, clock, rounds)
    return {**row, "peak, MB": peak_megabytes()}


def _load(engine: str, folder: Path, threads: int) -> Model:
    if engine in OWN:
        import torch

        torch.set_num_threads(threads)
        return OwnModel(engine)
    return (load_onnx if engine.startswith("onnx") else load_openvino)(engine, folder, threads)


def _measure_model(model: Model, ids: Sequence[int], clock: Clock, rounds: int) -> Row:
    row: Row = {}
    for length in LENGTHS:
        seconds = _rounds(lambda length=length: model.start(ids[:length]), clock, rounds)  # type: ignore[misc]
        row[f"prefill {length}"] = [length / duration for duration in seconds]
    first = model.start(ids[: LENGTHS[0]])

    def decode() -> None:
        token = first
        for _ in range(STEPS):
            token = model.step(token)

    row["decoding"] = [STEPS / duration for duration in _rounds(decode, clock, rounds)]
    row["next"] = [model.start(ids[:16]), *(model.step(token) for token in ids[16 : 15 + COMPARED])]
    return row


def _measure_llama_cpp(model: LlamaCppModel, ids: Sequence[int], clock: Clock, rounds: int) -> Row:
    row: Row = {}
    for length in LENGTHS:
        seconds = _rounds(lambda length=length: model.complete(ids[:length], 1), clock, rounds)  # type: ignore[misc]
        row[f"prefill {length}"] = [length / duration for duration in seconds]
    with_prefill = _rounds(lambda: model.complete(ids[: LENGTHS[0]], STEPS + 1), clock, rounds)
    prefill = statistics.median(LENGTHS[0] / rate for rate in row[f"prefill {LENGTHS[0]}"])
    row["decoding"] = [STEPS / (duration - prefill) for duration in with_prefill]
    row["next"] = [model.next(ids[: 16 + more]) for more in range(COMPARED)]
    return row


def _rounds(run: Callable[[], object], clock: Clock, rounds: int) -> list[float]:
    """Return the seconds of each round after a warm-up, of fewer rounds if they take long."""
    seconds: list[float] = []
    began = clock()
    for _ in range(rounds + 1):
        start = clock()
        run()
        seconds.append(clock() - start)
        if clock() - began > PATIENCE:
            break
    return seconds[1:] or seconds


def measure_apart(engine: str, folder: Path, options: argparse.Namespace) -> Row:
    """Measure an engine in a new process; if that fails, the row has the reason."""
    command = [sys.executable, "-m", "benchmarks.engines", "--one", engine, "--folder", str(folder)]
    command += ["--threads", str(options.threads), "--rounds", str(options.rounds)]
    command += ["--clock", options.clock]
    try:
        row: Row = json.loads(_run(command, OMP_NUM_THREADS=str(options.threads)).splitlines()[-1])
    except subprocess.CalledProcessError as error:
        errors = [line for line in (error.stderr or error.stdout).splitlines() if _EXCEPTION.match(line)]
        return {"engine": engine, "reason": errors[-1] if errors else f"its process ended with {error.returncode}"}
    return {"engine": engine, **row}


def _run(command: Sequence[str], stdin: str | None = None, **variables: str) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **variables}
    return subprocess.run(command, check=True, capture_output=True, text=True, input=stdin, env=environment).stdout


def measure_readers(options: argparse.Namespace) -> list[Row]:
    """Measure the shipped reader in each of its engines, in a new process."""
    asked = read([DATA / "retrieved-dev.jsonl"], QUESTIONS, options.seed)
    questions = [question.question for question in asked]
    passages = [[passage["text"] for passage in question.passages] for question in asked]
    rows: list[Row] = []
    for engine in READER_ENGINES:
        stdin = json.dumps([engine, questions, passages, options.rounds, PATIENCE])
        row: Row = json.loads(_run([sys.executable, "-c", READER], stdin, OMP_NUM_THREADS=str(options.threads)))
        answers = row.pop("answers")
        expected = rows[0]["answers"] if rows else answers
        same = sum(a == b for a, b in zip(answers, expected, strict=True)) / len(answers)
        seconds = {name: Range.of_rounds(row[name]) for name in ("alone", "together")}
        rows.append({"reader's engine": engine, **row, **seconds, "same answers": same, "answers": answers})
    return rows


def summarise(measured: Sequence[Row]) -> list[Row]:
    """Turn the figures of rounds into medians, and into multiples of torch in fp32."""
    plain = measured[0]
    rows = []
    for rounds in measured:
        row: Row = {"engine": rounds["engine"]}
        for name in (*(f"prefill {length}" for length in LENGTHS), "decoding"):
            row[name] = Range.of_rounds(rounds[name])
            row[f"× {name}"] = row[name].value / Range.of_rounds(plain[name]).value
        same = [a == b for a, b in zip(rounds["next"], plain["next"], strict=True)]
        rows.append({**row, "peak, MB": rounds["peak, MB"], "same": sum(same) / len(same)})
    return rows


def report(
    record: RunRecord, about: str, rows: Sequence[Row], readers: Sequence[Row], failed: Sequence[Row]
) -> Iterator[str]:
    """Write the tables as Markdown."""
    yield from ("# Engines", "", f"{describe_run(record)} {about}", "", "Tokens a second:", "")
    names = (*(f"prefill {length}" for length in LENGTHS), "decoding")
    yield from figures(rows, {"engine": "", **dict.fromkeys(names, ",.0f"), "peak, MB": ",.0f", "same": ".1%"})
    yield from ("", "Times as many as torch in fp32:", "")
    yield from figures(rows, {"engine": "", **{f"× {name}": ".2f" for name in names}})
    yield from ("", "The shipped reader; seconds an answer, of one at a time and of all together:", "")
    columns = {"peak, MB": ",.0f", "alone": ".2f", "together": ".2f", "same answers": ".1%"}
    yield from figures(readers, {"reader's engine": "", **columns})
    yield from ("", "Not measured:", "")
    yield from (f"- {row['engine']}: {row['reason']}" for row in failed)


def text_ids(seed: int) -> list[int]:
    """Return the ids of a text, after the token that starts it."""
    from zprompt.llm import load_backbone

    backbone = load_backbone("default", device="cpu")
    text = joined_prose(wikipedia_file())[seed * 20_000 :][:20_000]
    return [backbone.start_id, *backbone.encode(text)][: max(LENGTHS)]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ENGINES, default=list(ENGINES), help="torch fp32 is always there")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: the processor time of the process")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where graphs are kept for a next run; usually they are not")
    parser.add_argument("--seed", type=int, default=0, help="chooses the text")
    parser.add_argument("--one", choices=ENGINES, help="measure one in this process and print it as JSON")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    """Measure all, or one."""
    options, began = _parse(), time.time()
    if options.one:
        ids = json.loads((options.folder / IDS).read_text("utf-8"))
        print(json.dumps(measure(options.one, options.folder, ids, options)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        failed = [{"engine": name, "reason": reason} for name, reason in NOT_MEASURED.items()]
        if not set(GRAPHS).isdisjoint(options.only) and not (folder / "int8" / "model.onnx").is_file():
            build_graphs(folder)
        _write_json(folder / IDS, text_ids(options.seed))
        measured = []
        for engine in ("torch fp32", *(engine for engine in ENGINES[1:] if engine in options.only)):
            row = measure_apart(engine, folder, options)
            (failed if "reason" in row else measured).append(row)
            print(row.get("reason") or f"{engine}: done", flush=True)
    readers = measure_readers(options)
    record = RunRecord.take(options.seed, began)
    rows = summarise(measured)
    content = {"run": record, "engines": rows, "rounds": measured, "readers": readers, "not measured": failed}
    write_json(options.out / "engines.json", content)
    about = f"Engines have {options.threads} threads; seconds of {options.clock} time, medians of {options.rounds}."
    text = "\n".join(report(record, about, rows, readers, failed)) + "\n"
    (options.out / "engines.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
