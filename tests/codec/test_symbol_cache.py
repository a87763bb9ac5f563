"""What was compressed once is compressed again without the LLM, to the same bytes; a bad file costs a pass."""

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
    """Count the windows that the LLM reads, with a cache of the test's own."""
    counted: list[int] = []
    read = tiny_codec._compressor.hidden

    def count(windows: Sequence[Sequence[int]]) -> object:
        counted.append(len(windows))
        return read(windows)

    monkeypatch.setattr(tiny_codec._compressor, "hidden", count)
    monkeypatch.setattr(tiny_codec, "cache", SymbolCache(tiny_codec.fingerprint))
    yield counted


def windows(*lengths: int) -> list[tuple[list[int], Ints]]:
    return [(list(range(length)), np.arange(length) * 7 + 1) for length in lengths]


@pytest.mark.parametrize("options", [{}, {"ratio": 2}, {"query": "Who dredged it?"}, {"max_tokens": 60}])
def test_a_text_that_was_seen_is_compressed_without_the_llm(
    tiny_codec: Codec, passes: list[int], options: dict[str, object]
) -> None:
    first = tiny_codec.compress(TEXTS, ratio=3).documents
    read = sum(passes)
    again = tiny_codec.compress(TEXTS, ratio=3).documents
    other = tiny_codec.compress(TEXTS, **options).documents  # type: ignore[arg-type]

    assert read > 0 and sum(passes) == read
    assert again == first
    tiny_codec.cache = None
    assert tiny_codec.compress(TEXTS, **options).documents == other  # type: ignore[arg-type]
    assert sum(passes) > read
    assert tiny_codec.decompress(other) == TEXTS


def test_only_what_is_new_is_read(tiny_codec: Codec, passes: list[int]) -> None:
    tiny_codec.compress(TEXTS[:1])
    before = sum(passes)
    tiny_codec.compress([TEXTS[0], "A ferry.", TEXTS[0]])

    assert sum(passes) == before + 1


def test_a_file_is_shared_by_processes_and_told_apart_by_codecs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "symbols.sqlite"
    SymbolCache("one", path).put(windows(5, 0, 300))

    for ids, symbols in windows(5, 0, 300):
        found = SymbolCache("one", path).get(ids)
        assert found is not None and found.dtype == np.int64 and found.tolist() == symbols.tolist()
        assert SymbolCache("two", path).get(ids) is None
    assert SymbolCache("one", path).get([9, 9]) is None


def test_memory_and_file_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "symbols.sqlite"
    cache = SymbolCache("one", path, tokens=1000, size=200_000)
    for number in range(400):
        cache.put([([number] * 500, np.full(500, number))])

    assert cache._known.total <= 1000
    assert cache.get([399] * 500) is not None
    assert cache.get([0] * 500) is None
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_file_that_is_no_cache_costs_nothing_but_the_second_pass(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "symbols.sqlite"
    path.write_bytes(content)
    cache = SymbolCache("one", path)
    cache.put(windows(5))

    assert cache.get(list(range(5))) is not None


def test_a_folder_that_cannot_be_written_costs_no_more_either(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = SymbolCache("one", tmp_path / "file" / "symbols.sqlite")
    cache.put(windows(5))

    assert cache.get(list(range(5))) is not None


def test_threads_may_use_it_together(tmp_path: Path) -> None:
    cache = SymbolCache("one", tmp_path / "symbols.sqlite", tokens=50)
    failed: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for number in range(start, start + 40):
                cache.put([([number] * 10, np.full(10, number))])
                found = cache.get([number] * 10)
                assert found is not None and found.tolist() == [number] * 10
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failed.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 20, 40, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
