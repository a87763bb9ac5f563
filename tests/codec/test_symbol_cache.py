"""A text that was compressed before is compressed without the LLM, to the same bytes; a bad file costs a pass."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from zprompt.codec import Codec
from zprompt.codec.symbol_cache import SymbolCache
from zprompt.codec.tiling import Ints

TEXTS = ["The harbour was dredged in 1911. A ferry leaves twice a day.", "Oldport has a market. " * 30]


@pytest.fixture
def passes(tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Return the numbers of windows that the LLM reads, pass by pass; the codec has an empty cache."""
    counts: list[int] = []
    hidden = tiny_codec._compressor.hidden

    def count(windows: Sequence[Sequence[int]]) -> object:
        counts.append(len(windows))
        return hidden(windows)

    monkeypatch.setattr(tiny_codec._compressor, "hidden", count)
    monkeypatch.setattr(tiny_codec, "cache", SymbolCache(tiny_codec.fingerprint))
    yield counts


def windows(*lengths: int) -> list[tuple[list[int], Ints]]:
    return [(list(range(length)), np.arange(length) * 7 + 1) for length in lengths]


@pytest.mark.parametrize("options", [{}, {"ratio": 2}, {"query": "Who dredged it?"}, {"max_tokens": 60}])
def test_a_text_that_was_seen_is_compressed_without_the_llm(
    tiny_codec: Codec, passes: list[int], options: dict[str, object]
) -> None:
    first = tiny_codec.compress(TEXTS, ratio=3).documents
    windows_read = sum(passes)
    again = tiny_codec.compress(TEXTS, ratio=3).documents
    with_options = tiny_codec.compress(TEXTS, **options).documents  # type: ignore[arg-type]

    assert windows_read > 0 and sum(passes) == windows_read
    assert again == first
    tiny_codec.cache = None
    assert tiny_codec.compress(TEXTS, **options).documents == with_options  # type: ignore[arg-type]
    assert sum(passes) > windows_read
    assert tiny_codec.decompress(with_options) == TEXTS


def test_only_new_texts_are_read(tiny_codec: Codec, passes: list[int]) -> None:
    tiny_codec.compress(TEXTS[:1])
    before = sum(passes)
    tiny_codec.compress([TEXTS[0], "A ferry.", TEXTS[0]])

    assert sum(passes) == before + 1


def test_a_file_is_shared_by_processes_and_told_apart_by_codecs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "symbols.sqlite"
    SymbolCache("one", path).put(windows(5, 0, 300))

    for ids, symbols in windows(5, 0, 300):
        cached = SymbolCache("one", path).get(ids)
        assert cached is not None and cached.dtype == np.int64 and cached.tolist() == symbols.tolist()
        assert SymbolCache("two", path).get(ids) is None
    assert SymbolCache("one", path).get([9, 9]) is None


def test_memory_and_file_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "symbols.sqlite"
    cache = SymbolCache("one", path, tokens=1000, size=200_000)
    for number in range(400):
        cache.put([([number] * 500, np.full(500, number))])

    assert cache._in_memory.total <= 1000
    assert cache.get([399] * 500) is not None
    assert cache.get([0] * 500) is None
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_file_that_is_no_cache_does_not_disturb_the_cache_in_memory(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "symbols.sqlite"
    path.write_bytes(content)
    cache = SymbolCache("one", path)
    cache.put(windows(5))

    assert cache.get(list(range(5))) is not None


def test_a_folder_that_cannot_be_written_does_not_disturb_it_either(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = SymbolCache("one", tmp_path / "file" / "symbols.sqlite")
    cache.put(windows(5))

    assert cache.get(list(range(5))) is not None


def test_threads_may_share_a_cache(tmp_path: Path) -> None:
    cache = SymbolCache("one", tmp_path / "symbols.sqlite", tokens=50)
    errors: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for number in range(start, start + 40):
                cache.put([([number] * 10, np.full(10, number))])
                cached = cache.get([number] * 10)
                assert cached is not None and cached.tolist() == [number] * 10
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 20, 40, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
