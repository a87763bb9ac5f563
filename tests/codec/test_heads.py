"""Heads correct the predictions of the LLM, and their fingerprint is that of their weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.codec.conftest import HEAD_SETTINGS, make_heads
from zprompt.codec.code_layout import layout
from zprompt.codec.heads import CodecHeads
from zprompt.errors import CheckpointError
from zprompt.llm import Backbone


@pytest.fixture(scope="module")
def tiny_heads(tiny_backbone: Backbone) -> CodecHeads:
    return make_heads(tiny_backbone)


def test_embeddings_have_unit_scale(tiny_heads: CodecHeads) -> None:
    assert tiny_heads.embeddings.std() == pytest.approx(1.0, abs=1e-3)


def test_a_head_without_output_weights_does_not_change_the_prediction(tiny_backbone: Backbone) -> None:
    head = CodecHeads(HEAD_SETTINGS, tiny_backbone.embeddings, tiny_backbone.hidden_size).span_head
    torch.nn.init.zeros_(head.out.weight)
    assert not head.out(head.features(torch.randn(5, HEAD_SETTINGS.width))).any()


def test_the_context_may_leave_out_the_llm(tiny_heads: CodecHeads) -> None:
    previous, hidden = torch.randn(3, 64), torch.randn(3, 64)
    without = tiny_heads.span_head.left_context(previous, None)
    assert without.shape == (3, tiny_heads.settings.width)
    assert not torch.allclose(without, tiny_heads.span_head.left_context(previous, hidden))


def test_the_scale_of_a_hidden_state_does_not_matter(tiny_heads: CodecHeads) -> None:
    previous, hidden = torch.randn(3, 64), torch.randn(3, 64)
    context = tiny_heads.span_head.left_context
    torch.testing.assert_close(context(previous, hidden), context(previous, 100 * hidden), atol=1e-3, rtol=1e-3)


def test_the_code_head_classifies_segments_of_every_role(tiny_heads: CodecHeads) -> None:
    settings = tiny_heads.settings
    for role, size in enumerate(layout(settings.subcodes, settings.max_gap).sizes):
        logits = tiny_heads.code_head(role, torch.randn(4, size, 64))
        assert logits.shape == (4, settings.subcode_size)


def test_a_sub_code_depends_on_its_own_segment_alone(tiny_heads: CodecHeads) -> None:
    segments = torch.randn(4, 2, 64)
    alone = tiny_heads.code_head(3, segments[1:2])
    torch.testing.assert_close(tiny_heads.code_head(3, segments)[1:2], alone)


def test_the_same_weights_have_the_same_fingerprint(tiny_backbone: Backbone) -> None:
    first, second = (make_heads(tiny_backbone) for _ in range(2))
    assert first.fingerprint() == second.fingerprint()


def test_one_changed_weight_changes_the_fingerprint(tiny_backbone: Backbone) -> None:
    heads = make_heads(tiny_backbone)
    before = heads.fingerprint()
    heads.span_head.next_gate[0, 0] += 1
    assert heads.fingerprint() != before


def test_other_settings_change_the_fingerprint(tiny_backbone: Backbone) -> None:
    heads, other = (
        CodecHeads(settings, tiny_backbone.embeddings, tiny_backbone.hidden_size)
        for settings in (HEAD_SETTINGS, replace(HEAD_SETTINGS, max_gap=5))
    )
    assert other.fingerprint() != heads.fingerprint()


def test_heads_come_back_from_a_file(tiny_backbone: Backbone, tmp_path: Path) -> None:
    saved, loaded = make_heads(tiny_backbone), make_heads(tiny_backbone, seed=1)
    saved.save(tmp_path / "heads.safetensors")
    loaded.load(tmp_path / "heads.safetensors")
    assert loaded.fingerprint() == saved.fingerprint()
    for name, tensor in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_embeddings_are_not_saved_with_the_heads(tiny_heads: CodecHeads) -> None:
    assert "embeddings" not in tiny_heads.state_dict()


def test_heads_have_one_fingerprint_before_and_after_saving(tiny_backbone: Backbone, tmp_path: Path) -> None:
    heads = CodecHeads(HEAD_SETTINGS, tiny_backbone.embeddings, tiny_backbone.hidden_size)  # not yet in half precision
    before = heads.fingerprint()
    heads.save(tmp_path / "heads.safetensors")
    heads.load(tmp_path / "heads.safetensors")
    assert heads.fingerprint() == before


def test_a_missing_file_is_named(tiny_heads: CodecHeads, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"No codec heads at .*missing\.safetensors"):
        tiny_heads.load(tmp_path / "missing.safetensors")


def test_a_broken_file_is_refused(tiny_heads: CodecHeads, tmp_path: Path) -> None:
    path = tmp_path / "heads.safetensors"
    path.write_bytes(b"no safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        tiny_heads.load(path)


def test_heads_of_another_shape_are_refused(tiny_backbone: Backbone, tmp_path: Path) -> None:
    narrow = CodecHeads(replace(HEAD_SETTINGS, width=8), tiny_backbone.embeddings, tiny_backbone.hidden_size)
    narrow.save(tmp_path / "heads.safetensors")
    with pytest.raises(CheckpointError, match="size mismatch"):
        make_heads(tiny_backbone).load(tmp_path / "heads.safetensors")


def test_heads_rounded_to_half_precision_compute_the_same_after_saving(tiny_backbone: Backbone, tmp_path: Path) -> None:
    heads, loaded = (CodecHeads(HEAD_SETTINGS, tiny_backbone.embeddings, tiny_backbone.hidden_size) for _ in range(2))
    heads.round_to_half()
    heads.save(tmp_path / "heads.safetensors")
    loaded.load(tmp_path / "heads.safetensors")
    z = torch.randn(3, HEAD_SETTINGS.width)
    assert torch.equal(heads.span_head.features(z), loaded.span_head.features(z))
