"""The frameworks are real; the codec is one of bytes, so that tests need no model."""

import pytest
from byte_codec import ByteCodec
from langchain_core.documents import Document


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
