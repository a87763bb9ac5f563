"""The frameworks are real; the codec works on bytes, so that tests need no model."""

import pytest
from byte_codec import ByteCodec
from langchain_core.documents import Document

from zprompt.relevance import Relevance


@pytest.fixture(autouse=True)
def words_alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Score relevance by words alone, except in tests marked default_model: its model would have to be fetched."""
    if request.node.get_closest_marker("default_model") is None:
        shared = {"default": Relevance.from_pretrained(embedder=None)}
        monkeypatch.setattr("zprompt.relevance.relevance._shared", shared)


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> ByteCodec:
    codec = ByteCodec()
    monkeypatch.setattr("zprompt.codec.shared_codec", lambda name="default", **_: codec)
    return codec


@pytest.fixture
def documents() -> list[Document]:
    return [
        Document(id=f"id-{i}", page_content=f"Passage {i} is about the lamp.", metadata={"page": i, "tags": ["a"]})
        for i in range(5)
    ]
