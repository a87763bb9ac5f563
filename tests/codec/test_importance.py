"""The importance of a token depends on what it is and on what is protected."""

import math
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.codec.importance import PLAIN, SALIENT, token_weights
from zprompt.errors import OptionError
from zprompt.options import Protection


def offsets_of(text: str) -> list[tuple[int, int]]:
    """Cut a text into tokens as byte-level tokenizers do: a space belongs to the word after it."""
    return [match.span() for match in re.finditer(r"\s?\w+|[^\w\s]|\s", text)]


def tokens_that_weigh(weight: float, text: str, protect: Protection | None = None) -> list[str]:
    offsets = offsets_of(text)
    weights = token_weights(text, offsets, protect)
    return [text[start:end].strip() for (start, end), w in zip(offsets, weights, strict=True) if w == weight]


class TestNumbersAndNames:
    def test_numbers_weigh_more_and_so_do_the_points_inside_them(self) -> None:
        text = "about 3.14 of it, at 12:30 on the 2nd, see b52."
        assert tokens_that_weigh(SALIENT, text) == ["3", ".", "14", "12", ":", "30", "2nd", "b52"]

    def test_capitalised_words_weigh_more(self) -> None:
        assert tokens_that_weigh(SALIENT, "they went to Paris with Ada Lovelace.") == ["Paris", "Ada", "Lovelace"]

    def test_words_that_merely_begin_a_sentence_do_not_weigh_more(self) -> None:
        assert tokens_that_weigh(SALIENT, 'Rain fell. Nobody came! "Where?" Everyone asked.\nSilence.') == []

    def test_names_that_begin_a_sentence_weigh_more_if_they_are_names_elsewhere(self) -> None:
        assert tokens_that_weigh(SALIENT, "Paris slept. They left Paris.") == ["Paris", "Paris"]

    def test_words_with_inner_capitals_weigh_more_everywhere(self) -> None:
        assert tokens_that_weigh(SALIENT, "NASA said so. McDonald agreed.") == ["NASA", "McDonald"]

    def test_names_after_initials_weigh_more(self) -> None:
        assert "Smith" in tokens_that_weigh(SALIENT, "it was John J. Smith.")

    def test_pronouns_and_articles_do_not_weigh_more(self) -> None:
        assert tokens_that_weigh(SALIENT, "so I said: see The end") == []


class TestProtection:
    def test_of_a_regular_expression_protects_all_that_match(self) -> None:
        assert tokens_that_weigh(math.inf, "pay 10 EUR and 20 USD", protect=Protection.of(r"\d+ [A-Z]{3}")) == [
            "10",
            "EUR",
            "20",
            "USD",
        ]

    def test_of_a_list_means_its_strings_literally(self) -> None:
        assert Protection.of(["a.c"]).ranges("abc a.c") == [(4, 7)]

    def test_protects_every_token_that_it_touches(self) -> None:
        weights = token_weights("abcdef", [(0, 2), (2, 4), (4, 6)], Protection.of(["bc"]))
        assert weights == [math.inf, math.inf, PLAIN]

    def test_merges_what_overlaps_or_touches(self) -> None:
        assert Protection.of(["aba", "cd"]).ranges("xababacd aba") == [(1, 8), (9, 12)]

    def test_leaves_out_empty_matches(self) -> None:
        assert Protection.of("x*").ranges("axxb") == [(1, 3)]

    def test_holds_for_tokens_without_characters_of_their_own(self) -> None:
        weights = token_weights("é!", [(0, 0), (0, 1), (1, 2), (2, 2)], Protection.of(["é"]))
        assert weights == [math.inf, math.inf, PLAIN, PLAIN]

    def test_of_none_protects_nothing(self) -> None:
        assert Protection.of(None).ranges("text") == []

    @given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4)))
    def test_finds_each_occurrence_of_each_literal(self, text: str, literals: list[str]) -> None:
        protected = {i for start, end in Protection.of(literals).ranges(text) for i in range(start, end)}
        expected = {
            i
            for literal in literals
            for start in range(len(text))
            if text.startswith(literal, start)
            for i in range(start, start + len(literal))
        }
        assert protected == expected

    @pytest.mark.parametrize("protect", ["(", "[a", "*", "a{99999999999}"])
    def test_of_a_bad_expression_is_refused_with_the_way_to_mean_it_literally(self, protect: str) -> None:
        with pytest.raises(OptionError, match=r"not a valid regular expression.*put it in a list"):
            Protection.of(protect)

    @pytest.mark.parametrize("protect", [[""], [1], b"a", re.compile(b"a"), 7, {"a"}])
    def test_of_anything_else_is_refused(self, protect: object) -> None:
        with pytest.raises(OptionError, match="must be a regular expression"):
            Protection.of(protect)


@settings(max_examples=40)
@given(st.text(), st.lists(st.text(min_size=1)))
def test_every_token_of_every_text_has_a_weight(text: str, literals: list[str]) -> None:
    offsets = offsets_of(text)
    weights = token_weights(text, offsets, Protection.of(literals))
    assert len(weights) == len(offsets)
    assert set(weights) <= {PLAIN, SALIENT, math.inf}


@pytest.mark.parametrize("piece", ["1.", "A. ", "word ", "\n", "9"])
def test_time_is_linear_in_the_length_of_the_text(piece: str) -> None:
    text = piece * 20_000
    start = time.process_time()
    token_weights(text, offsets_of(text), Protection.of([piece]))
    assert time.process_time() - start < 5
