"""The text of documents of every known type is read and replaced, and nothing else about them changes."""

import copy
import subprocess
import sys
from collections import OrderedDict, UserList, UserString, deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zprompt.documents import Document, LangChainDocument, LlamaIndexNode, LlamaIndexScored, read_documents
from zprompt.errors import DocumentTypeError


def langchain_document() -> LangChainDocument:
    documents = pytest.importorskip("langchain_core.documents")
    return documents.Document(page_content="body", metadata={"source": "a.txt"}, id="id-1")


def llama_index_node() -> LlamaIndexNode:
    schema = pytest.importorskip("llama_index.core.schema")
    source = schema.RelatedNodeInfo(node_id="parent")
    return schema.TextNode(
        text="body",
        id_="id-1",
        metadata={"source": "a.txt"},
        relationships={schema.NodeRelationship.SOURCE: source},
        excluded_llm_metadata_keys=["source"],
        embedding=[0.5, 0.25],
        start_char_idx=3,
    )


def llama_index_document() -> LlamaIndexNode:
    schema = pytest.importorskip("llama_index.core.schema")
    return schema.Document(text="body", id_="id-1", metadata={"source": "a.txt"})


def llama_index_scored() -> LlamaIndexScored:
    schema = pytest.importorskip("llama_index.core.schema")
    return schema.NodeWithScore(node=llama_index_node(), score=0.75)


EVERY_KIND = [
    lambda: "body",
    lambda: {"text": "body", "id": 7},
    lambda: OrderedDict(id=7, text="body"),
    langchain_document,
    llama_index_node,
    llama_index_document,
    llama_index_scored,
]
NAMES = ["str", "dict", "ordered", "langchain", "node", "llama-document", "scored"]
every_kind = pytest.mark.parametrize("make", EVERY_KIND, ids=NAMES)


class TestOneDocument:
    @every_kind
    def test_has_only_its_body_as_text(self, make: Callable[[], Document]) -> None:
        assert read_documents(make()).texts == ("body",)

    @every_kind
    def test_keeps_its_type_with_another_text(self, make: Callable[[], Document]) -> None:
        replaced = read_documents(make()).with_texts(["Z"])
        assert type(replaced) is type(make())
        assert read_documents(replaced).texts == ("Z",)

    @every_kind
    def test_is_not_changed(self, make: Callable[[], Document]) -> None:
        document = make()
        before = copy.deepcopy(document)
        read_documents(document).with_texts(["Z"])
        assert document == before

    @every_kind
    def test_is_equal_again_once_its_text_is_restored(self, make: Callable[[], Document]) -> None:
        compressed = read_documents(make()).with_texts(["Z"])
        assert read_documents(compressed).with_texts(["body"]) == make()


class TestCopies:
    def test_of_langchain_documents_keep_id_and_metadata_and_share_neither(self) -> None:
        document = langchain_document()
        replaced = read_documents(document).with_texts(["Z"])
        replaced.metadata["new"] = 1
        assert replaced.id == "id-1"
        assert document.metadata == {"source": "a.txt"}

    def test_of_nodes_keep_id_relationships_and_embedding_and_share_none(self) -> None:
        node = llama_index_node()
        replaced = read_documents(node).with_texts(["Z"])
        assert (replaced.node_id, replaced.ref_doc_id, replaced.embedding) == ("id-1", "parent", [0.5, 0.25])
        replaced.metadata["new"] = 1
        replaced.excluded_llm_metadata_keys.append("new")
        replaced.relationships.clear()
        assert node == llama_index_node()

    def test_of_scored_nodes_keep_score_and_share_no_metadata(self) -> None:
        scored = llama_index_scored()
        replaced = read_documents(scored).with_texts(["Z"])
        replaced.node.metadata["new"] = 1
        assert (replaced.score, replaced.node.node_id) == (0.75, "id-1")
        assert scored.node.metadata == {"source": "a.txt"}

    def test_of_dicts_share_no_metadata(self) -> None:
        document = {"text": "body", "metadata": {"source": "a.txt"}, "tags": ["a"]}
        replaced = read_documents(document).with_texts(["Z"])
        replaced["metadata"]["new"] = 1
        replaced["tags"].append("new")
        assert document == {"text": "body", "metadata": {"source": "a.txt"}, "tags": ["a"]}

    def test_of_dicts_keep_the_order_of_keys(self) -> None:
        assert list(read_documents({"a": 1, "text": "", "b": 2}).with_texts(["Z"])) == ["a", "text", "b"]


class TestSequences:
    @given(st.lists(st.text()), st.sampled_from([list, tuple, UserList, deque, iter]))
    def test_of_any_kind_give_lists_in_order(self, texts: list[str], container: type) -> None:
        batch = read_documents(container(texts))
        assert batch.with_texts(batch.texts) == texts

    def test_of_one_document_give_a_list_of_one(self) -> None:
        assert read_documents(["body"]).with_texts(["Z"]) == ["Z"]

    def test_of_mixed_types_keep_each_type(self) -> None:
        documents = [make() for make in EVERY_KIND]
        replaced = read_documents(documents).with_texts([str(index) for index in range(len(documents))])
        assert [type(document) for document in replaced] == [type(document) for document in documents]
        assert read_documents(replaced).texts == tuple("0123456")

    def test_of_nothing_give_nothing(self) -> None:
        assert read_documents([]).with_texts([]) == []

    def test_refuse_another_number_of_texts(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            read_documents(["a", "b"]).with_texts(["Z"])


class TestUnknownDocuments:
    @pytest.mark.parametrize("document", [None, 3, b"bytes", UserString, {"a", "b"}, object()])
    def test_are_refused_with_their_type_and_what_is_allowed(self, document: object) -> None:
        with pytest.raises(DocumentTypeError, match=r"The document is of type .*Allowed are str, dict"):
            read_documents(document)

    def test_are_refused_with_their_position(self) -> None:
        with pytest.raises(DocumentTypeError, match="The document at position 2 is of type int"):
            read_documents(["a", {"text": "b"}, 3])

    def test_sequences_in_sequences_are_no_documents(self) -> None:
        with pytest.raises(DocumentTypeError, match="position 0 is of type list"):
            read_documents([["a"]])

    def test_dicts_without_text_are_shown_their_keys(self) -> None:
        with pytest.raises(DocumentTypeError, match=r"dict without 'text' \(its keys: 'page_content', 'id'\)"):
            read_documents([{"page_content": "a", "id": 1}])

    def test_dicts_whose_text_is_none_are_refused(self) -> None:
        with pytest.raises(DocumentTypeError, match="position 0, a dict, has a text of type NoneType"):
            read_documents([{"text": None}])

    def test_the_class_of_a_document_is_no_document(self) -> None:
        with pytest.raises(DocumentTypeError):
            read_documents(type(langchain_document()))


def test_reading_documents_imports_neither_library() -> None:
    script = "import sys, zprompt.documents; sys.exit(any(m.startswith(('langchain', 'llama')) for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
