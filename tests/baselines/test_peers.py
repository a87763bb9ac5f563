"""Peer packages run unchanged with our model, or say why they cannot."""

import pytest

from tests.baselines.conftest import TEXT
from zprompt import baselines
from zprompt.baselines.peers import TupleCacheModel, call_peer, transformers_tokenizer
from zprompt.errors import BaselineUnavailableError, PeerError
from zprompt.llm import Backbone

PARAGRAPHS = TEXT + "\n\n" + TEXT.replace("dog", "cat")
PRUNING_PEERS = ["llmlingua", "selective-context"]

pytestmark = pytest.mark.filterwarnings("default")  # the peers use deprecated names of their dependencies


def make(name: str, **options: object) -> baselines.Baseline:
    if reason := baselines.unavailable(name):
        pytest.skip(reason)
    return baselines.create(name, **options)


@pytest.mark.parametrize("name", PRUNING_PEERS)
def test_a_peer_prunes_with_our_model(tiny_backbone: Backbone, name: str) -> None:
    short = make(name, backbone=tiny_backbone).shorten(PARAGRAPHS, 120)
    assert 0 < short.tokens < short.source_tokens
    assert short.tokens == len(tiny_backbone.encode(short.text))
    assert short.baseline == name


def test_llmlingua_takes_a_query(tiny_backbone: Backbone) -> None:
    short = make("llmlingua", backbone=tiny_backbone).shorten(PARAGRAPHS, 120, "Who walked on the Moon?")
    assert 0 < short.tokens < short.source_tokens


@pytest.mark.parametrize("text", ["", TEXT, TEXT * 4])
def test_a_text_comes_back_from_delta_ltsc(tiny_backbone: Backbone, text: str) -> None:
    method = make("delta-ltsc", tokenizer=tiny_backbone.tokenizer)
    assert isinstance(method, baselines.LosslessBaseline)
    short = method.shorten(text)
    assert method.restore(short.text) == text
    assert short.tokens <= short.source_tokens


@pytest.mark.default_model
def test_delta_ltsc_shortens_repetitive_text(default_backbone: Backbone) -> None:
    short = make("delta-ltsc", tokenizer=default_backbone.tokenizer).shorten(TEXT * 4)
    assert short.tokens < 0.8 * short.source_tokens


@pytest.mark.parametrize("name", ["llmlingua", "delta-ltsc", "selective-context"])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("zprompt.baselines.registry.find_spec", lambda module: None)
    reason = baselines.unavailable(name)
    assert reason is not None
    assert "not installed: " in reason
    with pytest.raises(BaselineUnavailableError, match="pip install"):
        baselines.create(name)


def test_an_exception_of_a_peer_becomes_a_peer_error() -> None:
    with pytest.raises(PeerError, match="other failed on this text with ZeroDivisionError"):
        call_peer("other", lambda: 1 / 0)


def test_a_cache_of_tuples_gives_the_logits_of_one_pass(tiny_backbone: Backbone) -> None:
    import torch

    model = TupleCacheModel(tiny_backbone.model)
    ids = torch.tensor([tiny_backbone.encode(TEXT)[:20]])
    whole = model(ids).logits
    first = model(ids[:, :12])
    rest = model(ids[:, 12:], torch.ones_like(ids), first.past_key_values)
    torch.testing.assert_close(rest.logits, whole[:, 12:], atol=1e-4, rtol=1e-4)


def test_the_tokenizer_is_that_of_the_backbone(tiny_backbone: Backbone) -> None:
    assert transformers_tokenizer(tiny_backbone)(TEXT)["input_ids"] == tiny_backbone.encode(TEXT)
