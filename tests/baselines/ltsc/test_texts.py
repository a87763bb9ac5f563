"""Any shortened text comes back exactly; a damaged or forged dictionary is refused."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.baselines import ltsc
from zprompt.baselines.ltsc import Mode, SharedTexts
from zprompt.baselines.ltsc.texts import count_tokens, cut, needs_flag
from zprompt.baselines.protocol import Tokenizer
from zprompt.errors import DamagedSequenceError, OptionError
from zprompt.llm import Backbone

FOX = "the quick brown fox jumps over the lazy dog"
BOTH = (Mode.FLAT, Mode.HIERARCHICAL)
TRICKY = [
    *("the dog ", "Dictionary:", "\nα=", "\nText β:\n", "α", "§", "\\", "\n§в=", "abcabc", "=", "\ud800", "\n", "x"),
    *("β", "γ", "Dictionary:\nα=q", "Text", " é漢"),
]


def tricky_text(rng: random.Random) -> str:
    """Make a text of a few pieces, many of which look like the shortened form."""
    pieces = rng.sample(TRICKY, rng.randrange(1, 7))
    return "".join(rng.choice(pieces) * rng.randrange(1, 3) for _ in range(rng.randrange(30)))


class TestShortening:
    def test_the_form_is_dictionary_and_text(self, letters: Tokenizer) -> None:
        short = ltsc.shorten_text(f"1. {FOX}! 2: {FOX}? 3, {FOX}.", letters)
        assert short == f"Dictionary:\nα= {FOX}\nText β:\n1.α! 2:α? 3,α."

    def test_a_sign_that_is_in_the_text_is_not_used_as_a_reference(self, letters: Tokenizer) -> None:
        text = f"α{FOX}β{FOX}γ{FOX}"
        short = ltsc.shorten_text(text, letters)
        assert short == f"Dictionary:\nδ={FOX}\nText ε:\nαδβδγδ"
        assert ltsc.restore_text(short) == text

    def test_the_most_used_entry_has_the_first_sign(self, letters: Tokenizer) -> None:
        text = f"{FOX}1{FOX}2" + "~house~".join("ABCDEFGHIJ")
        assert f"\nα=~house~\nβ={FOX}\n" in ltsc.shorten_text(text, letters)

    def test_a_text_without_repeats_stays_as_it_is(self, letters: Tokenizer) -> None:
        assert ltsc.shorten_text(FOX, letters) == FOX

    def test_entries_may_use_entries_on_request(self, letters: Tokenizer) -> None:
        rng = random.Random(0)
        text = "".join(f"{FOX}, {FOX if i % 2 else i}; {rng.random()}" for i in range(9))
        short = ltsc.shorten_text(text, letters, [Mode.HIERARCHICAL])
        assert ltsc.restore_text(short) == text
        assert len(short) < len(text)

    def test_more_entries_than_letters_get_marks(self, letters: Tokenizer) -> None:
        rng = random.Random(0)
        words = ["".join(rng.choices("abcdefghijklmnop", k=14)) for _ in range(120)]
        text = "".join(rng.choice("/-+.:") + word for word in rng.sample(words * 5, 600))
        short = ltsc.shorten_text(text, letters)
        assert "\n§α=" in short
        assert ltsc.restore_text(short) == text

    def test_lzw_has_no_readable_form(self, letters: Tokenizer) -> None:
        with pytest.raises(OptionError, match="'lzw' has no readable dictionary"):
            ltsc.shorten_text(FOX, letters, [Mode.LZW])


class TestRoundTrip:
    def test_random_texts_that_look_shortened_come_back(self, letters: Tokenizer) -> None:
        rng = random.Random(0)
        for number in range(300):
            text = tricky_text(rng)
            short = ltsc.shorten_text(text, letters, [Mode.HIERARCHICAL] if number % 2 else [Mode.FLAT])
            assert ltsc.restore_text(short) == text, text
            assert len(short) <= len(text) + needs_flag(text), text

    @settings(max_examples=40)
    @given(st.lists(st.text(max_size=8), max_size=4), st.lists(st.integers(0, 3), max_size=20))
    def test_any_text_comes_back(self, tiny_backbone: Backbone, pieces: list[str], order: list[int]) -> None:
        text = "".join(pieces[i] for i in order if i < len(pieces))
        short = ltsc.shorten_text(text, tiny_backbone, BOTH)
        assert ltsc.restore_text(short) == text
        assert count_tokens(short, tiny_backbone) <= count_tokens(text, tiny_backbone) + needs_flag(text)

    @pytest.mark.parametrize("beginning", ["Dictionary:\nα=", "\\Dictionary:\nα=", "\\\\Dictionary:\n§α=x\nText β:\n"])
    def test_a_text_that_begins_like_a_shortened_one_gets_a_flag(self, letters: Tokenizer, beginning: str) -> None:
        short = ltsc.shorten_text(beginning, letters)
        assert short == "\\" + beginning
        assert ltsc.restore_text(short) == beginning

    def test_a_shortened_text_can_be_shortened_again(self, letters: Tokenizer) -> None:
        once = ltsc.shorten_text(f"{FOX}, {FOX}; {FOX}", letters)
        assert ltsc.restore_text(ltsc.shorten_text(once * 3, letters)) == once * 3

    def test_lone_surrogates_come_back(self, tiny_backbone: Backbone) -> None:
        text = f"\ud800 {FOX} \udfff " * 9 + "\ud800"
        short = ltsc.shorten_text(text, tiny_backbone)
        assert len(short) < len(text)
        assert ltsc.restore_text(short) == text

    def test_characters_that_the_tokenizer_drops_come_back(self, narrow_backbone: Backbone) -> None:
        text = f"é {FOX} é {FOX} é {FOX} è"
        assert ltsc.restore_text(ltsc.shorten_text(text, narrow_backbone)) == text


class TestDocuments:
    def test_overlapping_passages_share_entries(self, letters: Tokenizer) -> None:
        passages = [f"1{FOX}", f"2{FOX} and so on", {"text": FOX, "id": 3}]
        shared = ltsc.shorten_documents(passages, letters)
        assert shared.dictionary == f"Dictionary:\nα={FOX}\nText β:\n"
        assert shared.documents == ["1α", "2α and so on", {"text": "α", "id": 3}]
        assert shared.tokens < shared.source_tokens == 3 * len(FOX) + 12
        assert ltsc.restore_documents(shared) == passages

    def test_documents_without_repeats_stay_as_they_are(self, letters: Tokenizer) -> None:
        shared = ltsc.shorten_documents(["Dictionary:\nα=one", "two"], letters)
        assert shared == SharedTexts("", ["Dictionary:\nα=one", "two"], shared.source_tokens, shared.source_tokens)
        assert ltsc.restore_documents(shared) == ["Dictionary:\nα=one", "two"]

    def test_random_documents_come_back(self, letters: Tokenizer) -> None:
        rng = random.Random(1)
        for _ in range(100):
            texts = [tricky_text(rng) for _ in range(rng.randrange(4))]
            shared = ltsc.shorten_documents(texts, letters)
            assert ltsc.restore_documents(shared) == texts
            assert shared.tokens <= shared.source_tokens


class TestRefusal:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("Dictionary:\nα=one\nβ=two", "has no end"),
            ("Dictionary:\nα=one\nText α:\nαα", "has no end"),
            ("Dictionary:\nα=one\nβ=two\nText γ:\nα", "defines 'β', but nothing uses it"),
            ("Dictionary:\nα=one\nβ=β\nText γ:\nααβ", "reference 'β' is used where"),
            ("Dictionary:\n§α=one\nText §β:\n§αα", "reference 'α' is used where"),
        ],
    )
    def test_a_damaged_text_is_refused(self, text: str, message: str) -> None:
        with pytest.raises(DamagedSequenceError, match=message):
            ltsc.restore_text(text)

    def test_a_forged_dictionary_does_not_fill_the_memory(self) -> None:
        signs = "αβγδεζηθικλμπρστφχω"
        entries = "".join(f"\n{sign}={before * 1000}" for before, sign in zip("x" + signs, signs, strict=False))
        with pytest.raises(DamagedSequenceError, match="max_characters"):
            ltsc.restore_text(f"Dictionary:{entries}\nText Δ:\nω")

    def test_documents_need_their_own_dictionary(self, letters: Tokenizer) -> None:
        shared = ltsc.shorten_documents([FOX, FOX, FOX], letters)
        with pytest.raises(DamagedSequenceError, match="nothing uses it"):
            ltsc.restore_documents(SharedTexts(shared.dictionary, ["one"], 0, 0))
        with pytest.raises(DamagedSequenceError, match="begins with 'one'"):
            ltsc.restore_documents(SharedTexts("one", shared.documents, 0, 0))

    @given(st.lists(st.sampled_from(["Dictionary:", "\nα=", "\n§β=", "\nText γ:\n", "α", "§", "β", "x"]), max_size=12))
    def test_any_text_is_read_or_refused(self, pieces: list[str]) -> None:
        try:
            ltsc.restore_text("".join(pieces))
        except DamagedSequenceError:
            pass


class TestPieces:
    @settings(max_examples=40)
    @given(st.text(max_size=40))
    def test_pieces_add_up_to_the_text(self, tiny_backbone: Backbone, narrow_backbone: Backbone, text: str) -> None:
        for tokenizer in (tiny_backbone, narrow_backbone, tiny_backbone.tokenizer.backend):
            assert "".join(cut(text, Plain(tokenizer))) == text
        assert "".join(cut(text, narrow_backbone)) == text

    def test_pieces_are_the_tokens_with_or_without_offsets(self, tiny_backbone: Backbone) -> None:
        text = "the dog sleeps 漢 in the sun"
        assert cut(text, Plain(tiny_backbone)) == cut(text, tiny_backbone)
        assert " sun" in cut(text, tiny_backbone)


class Plain:
    """A tokenizer with nothing but `encode` and `decode`."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str, /) -> list[int]:
        ids = self._tokenizer.encode(text)
        return ids if isinstance(ids, list) else ids.ids

    def decode(self, ids: list[int], /) -> str:
        return self._tokenizer.decode(ids)
