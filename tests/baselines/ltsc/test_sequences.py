"""Sequences that LTSC shortens come back exactly, grow by one flag at most, and fit a vocabulary."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.baselines import ltsc
from zprompt.baselines.ltsc import ALL_MODES, MetaAlphabet, Mode, SharedSequences, repeats
from zprompt.errors import DamagedSequenceError, InvalidTextError, OptionError
from zprompt.llm import Backbone

SMALL = MetaAlphabet(first=6)  # so that random ids are often meta-tokens
TEXT = "The quick brown fox jumps over the lazy dog, and the dog sleeps on in the sun. " * 3
tokens = st.one_of(st.integers(0, 3), st.integers(0, 30))
pieces = st.lists(tokens, min_size=1, max_size=6)


@st.composite
def repetitive(draw: st.DrawFn) -> list[int]:
    """Draw a sequence of a few pieces that are repeated in any order."""
    few = draw(st.lists(pieces, min_size=1, max_size=4))
    order = draw(st.lists(st.tuples(st.sampled_from(few), st.integers(1, 5)), max_size=12))
    return [token for piece, times in order for token in piece * times]


def random_sequence(rng: random.Random) -> list[int]:
    """Make a sequence with repeats, overlaps, a tiny or a larger alphabet, and meta-ids."""
    alphabet = rng.choice([1, 2, 3, 8, 40])
    ids = [rng.randrange(alphabet) for _ in range(rng.randrange(40))]
    for _ in range(rng.randrange(6)):
        if ids:
            start = rng.randrange(len(ids))
            ids += ids[start : start + rng.randrange(1, 20)] * rng.randrange(1, 4)
    return ids


class TestRoundTrip:
    @given(repetitive(), st.sampled_from([SMALL, MetaAlphabet(first=100), MetaAlphabet(first=6, entries=2)]))
    def test_a_sequence_comes_back(self, ids: list[int], alphabet: MetaAlphabet) -> None:
        short = ltsc.compress(ids, alphabet)
        assert ltsc.decompress(short, alphabet) == ids
        assert len(short) <= len(ids) + 1

    @given(repetitive(), st.sampled_from(ALL_MODES))
    def test_a_sequence_comes_back_in_every_mode(self, ids: list[int], mode: Mode) -> None:
        short = ltsc.compress(ids, SMALL, [mode])
        assert ltsc.decompress(short, SMALL) == ids
        assert len(short) <= len(ids) + 1

    @given(st.lists(repetitive(), max_size=4), st.sampled_from([*map(lambda mode: (mode,), ALL_MODES), ALL_MODES]))
    def test_documents_come_back(self, documents: list[list[int]], modes: tuple[Mode, ...]) -> None:
        shared = ltsc.compress_documents(documents, SMALL, modes)
        assert ltsc.decompress_documents(shared, SMALL) == documents
        assert shared.tokens <= sum(map(len, documents))

    def test_ten_thousand_random_sequences_come_back(self) -> None:
        rng = random.Random(0)
        for number in range(10_000):
            ids = random_sequence(rng)
            alphabet = MetaAlphabet(first=rng.choice([0, 1, 4, 100]), entries=rng.choice([None, None, 0, 3]))
            modes = [ALL_MODES[number % 3]] if number % 10 else ALL_MODES
            short = ltsc.compress(ids, alphabet, modes)
            assert ltsc.decompress(short, alphabet) == ids, (number, ids)
            assert len(short) <= len(ids) + 1, (number, ids)

    @pytest.mark.parametrize("ids", [[], [0], [SMALL.raw], [SMALL.dictionary], [SMALL.lzw, 1, 2], [SMALL.escape]])
    def test_short_sequences_come_back(self, ids: list[int]) -> None:
        assert ltsc.decompress(ltsc.compress(ids, SMALL), SMALL) == ids


class TestLength:
    def test_the_flat_form_is_the_dictionary_and_body_of_the_paper(self) -> None:
        meta = MetaAlphabet(first=100)
        short = ltsc.compress([1, 2, 3, 4, 9, 1, 2, 3, 4, 8, 1, 2, 3, 4], meta, [Mode.FLAT])
        m0 = meta.first_entry
        assert short == [meta.dictionary, m0, 1, 2, 3, 4, meta.end, m0, 9, m0, 8, m0]

    def test_a_sequence_without_repeats_stays_as_it_is(self) -> None:
        assert ltsc.compress(range(50)) == list(range(50))

    def test_each_mode_is_the_shortest_for_some_input(self) -> None:
        once = list(range(30))
        rng = random.Random(0)
        block = [rng.randrange(1000) for _ in range(8)]
        nested = [t for i in range(40) for t in (*block, *([1000 + i] if i % 2 else block), 2000 + i)]
        noisy = [rng.randrange(3) for _ in range(2000)]
        assert ltsc.compress_documents([[*once, 50, *once]]).mode is Mode.FLAT
        assert ltsc.compress_documents([nested]).mode is Mode.HIERARCHICAL
        assert ltsc.compress_documents([noisy]).mode is Mode.LZW

    def test_documents_share_entries(self) -> None:
        passage = list(range(100))
        shared = ltsc.compress_documents([[200, *passage, 201], passage, [202, *passage]])
        assert shared.tokens < 115

    def test_no_more_entries_are_used_than_the_alphabet_has(self) -> None:
        rng = random.Random(0)
        ids = [t for _ in range(200) for t in [rng.randrange(20)] * 5]
        meta = MetaAlphabet(first=100, entries=7)
        for mode in ALL_MODES:
            assert max(ltsc.compress(ids, meta, [mode])) < meta.first_entry + 7

    def test_runs_and_long_repeats_become_very_short(self) -> None:
        assert len(ltsc.compress([7] * 20_000)) < 100
        assert len(ltsc.compress(list(range(10_000)) * 2)) < 10_010
        assert len(ltsc.compress([1, 2, 3] * 7_000)) < 100


class TestWork:
    @pytest.mark.parametrize("mode", [Mode.FLAT, Mode.HIERARCHICAL])
    def test_the_number_of_passes_hardly_grows_with_the_sequence(
        self, monkeypatch: pytest.MonkeyPatch, mode: Mode
    ) -> None:
        passes = 0

        def counted(function: Callable[..., object]) -> Callable[..., object]:
            def wrapper(*arguments: object) -> object:
                nonlocal passes
                passes += 1
                return function(*arguments)

            return wrapper

        for module, name in ((repeats, "_rank"), (repeats, "_groups"), (repeats, "_count_pairs")):
            monkeypatch.setattr(module, name, counted(getattr(module, name)))
        rng, counts = random.Random(0), []
        words = [[rng.randrange(500) for _ in range(rng.randrange(1, 12))] for _ in range(400)]
        ids = [token for _ in range(4000) for token in rng.choice(words)]
        for size in (2000, 16_000):
            passes = 0
            ltsc.compress(ids[:size], modes=[mode])
            counts.append(passes)
        assert counts[1] <= 3 * counts[0]  # not 8 times; each pass takes linear time


class TestRefusal:
    def test_a_negative_id_is_refused(self) -> None:
        with pytest.raises(OptionError, match="at least 0, got -100"):
            ltsc.compress([1, -100])

    @pytest.mark.parametrize(
        ("ids", "message"),
        [
            ([7], "has no end"),
            ([7, 1, 8], "begins with id 1"),
            ([7, 11, 1, 12], "has no end"),
            ([7, 11, 1, 13, 8], "Entry 2 is used"),
            ([7, 11, 1, 11, 8], "Entry 0 is used"),
            ([7, 11, 1, 8, 12], "Entry 1 is used"),
            ([7, 11, 1, 8, 10], "control token"),
            ([9, 11], "is not defined there"),
            ([9, 1, 12], "is not defined there"),
        ],
    )
    def test_a_damaged_sequence_is_refused(self, ids: list[int], message: str) -> None:
        with pytest.raises(DamagedSequenceError, match=message):
            ltsc.decompress(ids, SMALL)

    @given(st.lists(st.integers(0, 20), max_size=20))
    def test_any_ids_are_read_or_refused(self, ids: list[int]) -> None:
        try:
            ltsc.decompress(ids, SMALL, max_tokens=10_000)
        except DamagedSequenceError:
            pass

    def test_a_forged_dictionary_does_not_fill_the_memory(self) -> None:
        first = SMALL.first_entry
        bomb = [t for i in range(1, 60) for t in (first + i, first + i - 1, first + i - 1)]
        with pytest.raises(DamagedSequenceError, match="raise max_tokens"):
            ltsc.decompress([SMALL.dictionary, first, 1, 1, *bomb, SMALL.end, first + 59], SMALL)

    def test_a_head_of_another_alphabet_is_refused(self) -> None:
        with pytest.raises(DamagedSequenceError, match="Pass the alphabet"):
            ltsc.decompress_documents(SharedSequences((500,), ((1,),), None), SMALL)


class TestIds:
    @settings(max_examples=40)
    @given(st.text(st.one_of(st.sampled_from("ab\x1b0;"), st.characters(codec="utf-8")), max_size=20))
    def test_any_text_comes_back(self, tiny_backbone: Backbone, narrow_backbone: Backbone, text: str) -> None:
        for tokenizer in (tiny_backbone, narrow_backbone):
            try:
                ids = ltsc.encode_text(text * 3, tokenizer)
            except InvalidTextError:
                assert tokenizer is narrow_backbone  # its tokenizer lacks the characters of some escapes
            else:
                assert ltsc.decode_text(ids, tokenizer) == text * 3

    def test_a_text_that_looks_like_an_escape_comes_back(self, tiny_backbone: Backbone) -> None:
        text = "\x1b41; is no A"
        assert ltsc.decode_text(ltsc.encode_text(text, tiny_backbone), tiny_backbone) == text

    def test_ids_outside_the_tokenizer_are_refused(self, tiny_backbone: Backbone) -> None:
        with pytest.raises(DamagedSequenceError, match="cannot decode to text"):
            ltsc.decode_text([10_000], tiny_backbone)


class TestTraining:
    def test_ids_stay_within_the_vocabulary(self, tiny_backbone: Backbone) -> None:
        alphabet = MetaAlphabet(first=500, entries=2)
        ids = tiny_backbone.encode("".join(f"{TEXT[i : i + 40]}; " for i in range(0, 120, 20)))
        inputs = ltsc.to_model_ids(ids, alphabet)
        assert len(inputs) < len(ids)
        assert alphabet.vocabulary_size == 507 > max(inputs) >= 500
        assert ltsc.decompress(inputs, alphabet) == ids

    def test_an_unbounded_vocabulary_is_refused(self) -> None:
        with pytest.raises(OptionError, match=r"MetaAlphabet\(first=500, entries=500\)"):
            ltsc.to_model_ids([1], MetaAlphabet(first=500))

    def test_an_id_among_the_meta_tokens_is_refused(self) -> None:
        with pytest.raises(OptionError, match="Id 500 is not below"):
            ltsc.to_model_ids([1, 500], MetaAlphabet(first=500, entries=3))
