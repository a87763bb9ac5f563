"""Weights are read straight from a GGUF file."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quants

from zprompt.errors import BackboneError
from zprompt.llm.gguf import index_from_json, index_tensors, index_to_json, read_tensors
from zprompt.llm.transformers_decoder import quiet_transformers


def test_every_tensor_is_bit_equal_to_what_transformers_reads(tiny_gguf: Path) -> None:
    from transformers import LlamaForCausalLM

    with quiet_transformers():
        model = LlamaForCausalLM.from_pretrained(tiny_gguf.parent, gguf_file=tiny_gguf.name, dtype=torch.float32)
    expected = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    actual = dict(read_tensors(tiny_gguf, index_tensors(tiny_gguf)))
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_an_index_survives_json(tiny_gguf: Path) -> None:
    index = index_tensors(tiny_gguf)
    assert index_from_json(index_to_json(index)) == index


def test_tensors_are_writable_and_own_their_memory(tiny_gguf: Path) -> None:
    before = tiny_gguf.read_bytes()
    for _, tensor in read_tensors(tiny_gguf, index_tensors(tiny_gguf)):
        tensor.zero_()
    assert tiny_gguf.read_bytes() == before


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "q5.gguf", "llama")
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    kind = GGMLQuantizationType.Q5_0
    writer.add_tensor("output_norm.weight", quants.quantize(np.ones((1, 64), np.float32), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(BackboneError, match=r"output_norm\.weight.*Q5_0.*Q4_1, Q8_0, F32"):
        index_tensors(tmp_path / "q5.gguf")


def test_an_index_entry_is_frozen(tiny_gguf: Path) -> None:
    entry = next(iter(index_tensors(tiny_gguf).values()))
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.offset = 0  # type: ignore[misc]
