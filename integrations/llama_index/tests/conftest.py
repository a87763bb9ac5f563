"""The tiny codec of `tiny.py`, and nodes and documents for it."""

from pathlib import Path

import pytest
from llama_index.core.schema import Document, NodeWithScore, TextNode
from text_nodes import text_node
from tiny import SENTENCES, save_backbone, save_codec

from zprompt import Codec, load
from zprompt.codec import shared_codec
from zprompt.relevance import Relevance


@pytest.fixture(autouse=True)
def words_alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Score relevance by words alone, except in tests marked default_model: its model would have to be fetched."""
    if request.node.get_closest_marker("default_model") is None:
        shared = {"default": Relevance.from_pretrained(embedder=None)}
        monkeypatch.setattr("zprompt.relevance.relevance._shared", shared)


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the tiny backbone."""
    return save_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, backbone_folder: Path) -> str:
    """Return the name of the tiny codec: its folder."""
    return str(save_codec(tmp_path_factory.mktemp("codecs") / "tiny", backbone_folder))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory, backbone_folder: Path) -> str:
    """Return the name of a codec with another margin over the same backbone."""
    return str(save_codec(tmp_path_factory.mktemp("codecs") / "other", backbone_folder, margin=2e-4))


@pytest.fixture(scope="session")
def tiny_codec(tiny: str) -> Codec:
    """Return the tiny codec, the same object that components load by its name."""
    return shared_codec(tiny)


@pytest.fixture
def fresh_codec(tiny: str) -> Codec:
    """Return a codec that nothing else uses, to be counted and broken."""
    return load(tiny)


@pytest.fixture
def nodes() -> list[TextNode]:
    """Return a node of each sentence."""
    return [text_node(number, text) for number, text in enumerate(SENTENCES)]


@pytest.fixture
def scored(nodes: list[TextNode]) -> list[NodeWithScore]:
    """Return the nodes as a retriever does, the scores not in order."""
    return [NodeWithScore(node=node, score=score) for node, score in zip(nodes, [0.5, 0.9, None, 0.1], strict=True)]


@pytest.fixture
def documents() -> list[Document]:
    """Return a document of each sentence."""
    return [
        Document(text=text, id_=f"doc-{number}", metadata={"file": f"{number}.txt"})
        for number, text in enumerate(SENTENCES)
    ]
