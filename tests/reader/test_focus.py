"""A reader gets the passages that fit, and otherwise their most relevant sentences."""

import pytest

from tests.conftest import SENTENCES
from zprompt.codec import Codec
from zprompt.documents import read_documents
from zprompt.reader.focus import PassageFocus
from zprompt.relevance import ELISION
from zprompt.zspan import escape_literal, find_spans

QUESTION = "When did people walk on the Moon?"
PASSAGES = [
    "Rivers carry sand to the sea. In 1969 two people walked on the Moon. It was July.",
    "The mud becomes stone.",
]


@pytest.fixture
def focus(chat_codec: Codec) -> PassageFocus:
    return PassageFocus(
        lambda span: chat_codec.parse(span).tokens, chat_codec.backbone.decode, lambda text: len(text.split())
    )


def read(focus: PassageFocus, passages: object, max_tokens: int) -> list[object]:
    return list(focus.choose(QUESTION, read_documents(passages), max_tokens))


def test_passages_that_fit_are_read_as_they_are(focus: PassageFocus) -> None:
    assert read(focus, PASSAGES, 21) == PASSAGES


def test_of_passages_that_do_not_fit_the_most_relevant_sentences_are_read(focus: PassageFocus) -> None:
    assert read(focus, PASSAGES, 8) == ["In 1969 two people walked on the Moon.", "…"]


def test_where_no_sentence_fits_the_best_one_is_read(focus: PassageFocus) -> None:
    assert read(focus, PASSAGES, 2) == ["In 1969 two people walked on the Moon.", "…"]


def test_titles_stay(focus: PassageFocus) -> None:
    passages = [{"text": text, "title": "Moon", "id": 7} for text in PASSAGES]
    assert read(focus, passages, 8)[0] == {"text": "In 1969 two people walked on the Moon.", "title": "Moon", "id": 7}


def test_elision_marks_are_not_doubled(focus: PassageFocus) -> None:
    text = f"It is 1969. {ELISION} Mud is stone. {ELISION} In 1969 two people walked on the Moon."
    [chosen] = read(focus, text, 12)
    assert chosen.count(ELISION) == 1 and chosen.endswith("walked on the Moon.")


def test_the_verbatim_sentences_of_focused_z_spans_are_read_as_text(focus: PassageFocus, chat_codec: Codec) -> None:
    text = "".join(f"{sentence} " for sentence in SENTENCES)
    spans: list[str] = chat_codec.compress([text, text], query=QUESTION, ratio=3).documents
    chosen = read(focus, spans, 192)
    assert all(not list(find_spans(str(passage))) for passage in chosen)
    for piece in str(chosen[0]).split(f" {ELISION} "):
        assert piece in text


def test_other_z_spans_are_read_as_they_are(focus: PassageFocus, chat_codec: Codec) -> None:
    spans: list[str] = chat_codec.compress(SENTENCES, ratio=3).documents
    assert read(focus, [*PASSAGES, *spans], 8) == ["In 1969 two people walked on the Moon.", "…", *spans]


def test_text_that_looks_like_a_z_span_stays_text(focus: PassageFocus, chat_codec: Codec) -> None:
    [span] = chat_codec.compress(SENTENCES[:1], ratio=3).documents
    literal = escape_literal(f"{PASSAGES[0]} {span}")
    chosen = read(focus, [literal, *chat_codec.compress([" ".join(SENTENCES)], ratio=1).documents], 192)
    assert chosen[0] == literal
