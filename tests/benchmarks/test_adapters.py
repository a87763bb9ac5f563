"""The benchmark of the adapters' overhead, on a tiny codec."""

import pytest

pytest.importorskip("langchain_zprompt")
pytest.importorskip("llama_index.postprocessor.zprompt")

from benchmarks.adapters import measure, passages
from zprompt.codec import Codec


def test_passages_are_as_many_as_asked_for_and_all_different() -> None:
    texts = passages(200)
    assert len(texts) == len(set(texts)) == 200


def test_each_adapter_is_timed_in_each_round(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zprompt.codec.shared_codec", lambda *_, **__: codec)
    results = measure(codec, passages(3), rounds=2)
    assert len(results) == 2
    assert all(len(result.shares) == 2 and min(result.shares) > 0 for result in results)
