"""Words are whole, all text but white space belongs to one, and dropping words never fuses their neighbours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zprompt.baselines.words import join_words, split_words, words_of_tokens

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't e-mail me@x.org, please.", ["Don't", "e-mail", "me@x.org", ",", "please", "."]),
        ("pi is 3.14 at 12:30 (1,000 times)", ["pi", "is", "3.14", "at", "12:30", "(", "1,000", "times", ")"]),
        ("see https://a.b/c?d=e-f.", ["see", "https://a.b/c?d=e-f."]),
        ("x=y_z[0]", ["x", "=", "y_z", "[", "0", "]"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("日本語。ok", ["日", "本", "語", "。", "ok"]),
        ("Größe naïve cafe\u0301", ["Größe", "naïve", "cafe\u0301"]),
        ("❤️👍🏽!", ["❤️👍🏽!"]),
        (" \n\t", []),
    ],
)
def test_words_are_what_a_person_would_say(text: str, words: list[str]) -> None:
    assert [word.text for word in split_words(text)] == words


@given(any_text)
def test_all_words_joined_are_the_text(text: str) -> None:
    words = split_words(text)
    joined = join_words(words, [True] * len(words))
    assert text.startswith(joined)
    assert not text[len(joined) :].strip()


@given(any_text, st.randoms(use_true_random=False))
def test_kept_words_are_still_whole_words(text: str, random: object) -> None:
    words = split_words(text)
    kept = [random.random() < 0.5 for _ in words]  # type: ignore[attr-defined]
    letters = [word.text for word, keep in zip(words, kept, strict=True) if keep and word.text.isalnum()]
    words_after = [word.text for word in split_words(join_words(words, kept))]
    for word in letters:
        assert word in words_after or any(word in longer for longer in words_after)


@pytest.mark.parametrize(
    ("text", "kept", "joined"),
    [
        ("x=y", "101", "x y"),
        ("one two three", "101", "one three"),
        ("one.\n\nTwo three", "1001", "one\nthree"),
        ("one.\n\nTwo three", "1011", "one\n\nTwo three"),
        ("  one two", "01", "two"),
        ("  one two", "11", "  one two"),
        ("a (b) c", "11010", "a (b)"[:3] + ") c"[:1]),
        ("日、本", "101", "日本"),
    ],
)
def test_gaps_close_without_fusing_words(text: str, kept: str, joined: str) -> None:
    assert join_words(split_words(text), [mark == "1" for mark in kept]) == joined


def test_tokens_belong_to_the_word_that_they_end_in() -> None:
    words = split_words("ab  cd. ")
    assert words_of_tokens(words, [(0, 2), (2, 3), (3, 6), (6, 7), (7, 8)]) == [0, 1, 1, 2, 2]
    assert words_of_tokens([], [(0, 1)]) == []
