"""The text form keeps the sentences that a question needs, and changes nothing else in a document."""

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode

import zprompt
from zprompt.counting import counter
from zprompt.documents import DocumentBatch
from zprompt.errors import InvalidTextError, OptionError, RatioWarning
from zprompt.options import CompressOptions, OnError, merge_ranges
from zprompt.relevance import ELISION, NOTHING, Relevance, sentences
from zprompt.text_form import shorten
from zprompt.zspan import ZSpan, ZToken, format_span

WORDS = Relevance.from_pretrained(embedder=None)
QUERY = "When was the tower built?"
ANSWER = "The old tower was built in 1256 by a duke."
TOWN = f"Bern lies on the river Aare. {ANSWER} Many people come to see the bears. A baker sells bread there.\n\n"
SEA = "The sea is deep. Whales sing in it. Ships cross it in a week. Sailors like rum.\n"
SURROGATE = "before \ud800 after"
SPAN = format_span(ZSpan("0" * 12, (ZToken(1, 0),), (), False, b"\0" * 8))

any_ratio = pytest.mark.filterwarnings("ignore::zprompt.errors.RatioWarning")
TEXTS = st.lists(
    st.lists(
        st.sampled_from(
            [ANSWER, " ", "\n", "The sea is deep. ", "It rains. ", "| a | b |\n", "1256. ", "塔很古老。", "x"]
        )
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        max_size=9,
    ).map("".join),
    max_size=4,
)


def shortened(docs: object, query: str = QUERY, **options: Any) -> zprompt.CompressionResult:  # noqa: ANN401
    return zprompt.compress(docs, query=query, form="text", relevance=WORDS, **options)


@pytest.mark.parametrize(
    "document",
    [
        TOWN,
        {"text": TOWN, "id": 7, "title": "Bern", "metadata": {"page": 3}},
        Document(page_content=TOWN, id="7", metadata={"title": "Bern"}),
        NodeWithScore(node=TextNode(text=TOWN, id_="7", metadata={"title": "Bern"}), score=0.25),
    ],
    ids=lambda document: type(document).__name__,
)
def test_documents_keep_everything_but_their_text(document: object) -> None:
    (sea, short), whole = shortened([SEA, document], max_tokens=20).documents, document
    assert sea == NOTHING and type(short) is type(whole)
    match short:
        case str():
            assert short == ANSWER
        case dict():
            assert short == {**whole, "text": ANSWER} and whole["text"] == TOWN
        case Document():
            assert short == Document(page_content=ANSWER, id="7", metadata={"title": "Bern"})
        case NodeWithScore():
            assert (short.node.text, short.node.node_id, short.score) == (ANSWER, "7", 0.25)
            assert short.node.metadata == {"title": "Bern"} and whole.node.text == TOWN


def test_a_single_document_is_shortened_and_its_kept_sentences_are_reported() -> None:
    result = shortened(TOWN, max_tokens=16)
    (kept,) = result.kept
    assert (result.documents, TOWN[slice(*kept.ranges[0])].strip()) == (ANSWER, ANSWER)
    assert result.stats.verbatim == pytest.approx(counter("reader")(ANSWER) / counter("reader")(TOWN))
    assert result.stats.relevance == "words" and result.stats.z_tokens == 0
    assert [sentence.kept for sentence in kept.sentences] == [False, True, False, False]
    assert max(sentence.relevance for sentence in kept.sentences) == kept.sentences[1].relevance == kept.relevance


def test_a_gap_between_two_kept_sentences_is_marked() -> None:
    text = shortened(SEA + TOWN, query="Is the sea deep, and when was the tower built?", ratio=2).documents
    assert text.startswith("The sea is deep.") and ANSWER in text and ELISION in text


@any_ratio
@settings(max_examples=80)
@given(texts=TEXTS, limit=st.integers(1, 120), count=st.sampled_from(["reader", len]))
def test_max_tokens_is_a_limit(texts: list[str], limit: int, count: Any) -> None:  # noqa: ANN401
    counts = counter(count)
    try:
        result = shortened(texts, max_tokens=limit, count=count)
    except OptionError:
        assert sum(min(counts(NOTHING), counts(text)) for text in texts) > limit
    else:
        assert sum(map(counts, result.documents)) == result.stats.positions <= limit


@any_ratio
@settings(max_examples=80)
@given(texts=TEXTS, ratio=st.none() | st.floats(1, 30))
def test_any_texts_are_shortened_to_whole_sentences_of_their_own(texts: list[str], ratio: float | None) -> None:
    count = counter("reader")
    result = shortened(texts, ratio=ratio)
    for text, short, kept in zip(texts, result.documents, result.kept, strict=True):
        assert count(short) <= count(text)
        boundaries = {boundary for unit in sentences(text) for boundary in unit} | {len(text)}
        assert all(start < end and {start, end} <= boundaries for start, end in kept.ranges)
        assert "".join(text[s.start : s.end] for s in kept.sentences) == (text if text.strip() else "")
        if kept.sentences:
            assert merge_ranges((s.start, s.end) for s in kept.sentences if s.kept) == [*kept.ranges]
        kept_words = [word for start, end in kept.ranges for word in text[start:end].split()]
        assert [word for word in short.split() if word not in (ELISION, NOTHING)] == [
            word for word in kept_words if word not in (ELISION, NOTHING)
        ]
    assert result.tokens == tuple(zip(map(count, texts), map(count, result.documents), strict=True))
    assert result.stats.source_tokens == sum(before for before, _ in result.tokens)
    assert result.stats.positions == sum(after for _, after in result.tokens)
    assert result.sources == tuple(texts)


@pytest.mark.parametrize("ratio", [1, 1.5, 2, 3, 5])
def test_a_ratio_is_met_within_a_tenth(ratio: float) -> None:
    template = "The tower and the river of {} were near the market in the year {}, as all of the people there say. "
    docs = [
        "".join(template.format(town, 1200 + 7 * year) for year in range(10)) for town in ("Bern", "Oslo", "Ulm") * 3
    ]
    stats = shortened(docs, ratio=ratio).stats
    assert stats.ratio == pytest.approx(ratio, rel=0.1) and stats.missed is None


def test_a_miss_of_more_than_a_tenth_is_a_warning() -> None:
    with pytest.warns(RatioWarning, match="ratio 50 was requested; the nearest with whole sentences"):
        stats = shortened(TOWN, ratio=50).stats
    assert stats.missed is not None


@pytest.mark.parametrize("docs", [[], "", ["", ""]])
def test_texts_without_words_miss_no_ratio(docs: Any) -> None:  # noqa: ANN401
    result = shortened(docs, ratio=4)
    assert (result.documents, result.stats.missed, result.stats.ratio) == (docs, None, 1.0)


def test_a_limit_that_no_sentence_fits_in_is_a_warning() -> None:
    line = "x1 " * 200  # one unbroken line, as in a minified file
    with pytest.warns(RatioWarning, match="max_tokens=20 has no room for any sentence of these documents"):
        assert shortened([line, line], max_tokens=20).documents == [NOTHING, NOTHING]
    assert shortened([line, TOWN], max_tokens=20).stats.missed is None


def test_without_a_length_a_sentence_that_stands_out_is_kept() -> None:
    result = shortened([SEA, TOWN, SEA])
    assert ANSWER in result.documents[1] and result.stats.ratio > 1.5


@pytest.mark.parametrize("length", [{}, {"max_tokens": 30}, {"ratio": 3}])
def test_protected_sentences_stay(length: dict[str, Any]) -> None:
    kept, _ = shortened([SEA, TOWN], protect="rum", **length).documents
    assert "Sailors like rum." in kept


@pytest.mark.parametrize("length", [{}, {"max_tokens": 200}, {"ratio": 8}])
@any_ratio
def test_all_protected_sentences_stay_however_many_they_are(length: dict[str, Any]) -> None:
    result = shortened([SEA, TOWN], protect=["deep", "week", "Bern", "bread"], **length)
    assert all(word in "".join(result.documents) for word in ("deep", "week", "Bern", "bread"))


def test_protected_sentences_do_not_crowd_out_the_answer() -> None:
    many = "It was 1834 then. It was 1921 then. " * 8
    assert ANSWER in shortened([many, SEA, TOWN], protect=r"\d{4}").documents[2]


def test_a_limit_below_what_is_protected_is_an_error() -> None:
    with pytest.raises(OptionError, match="max_tokens"):
        shortened([SEA, TOWN], protect=["deep", "rum", "bears"], max_tokens=12)


def test_a_text_of_few_tokens_passes_through() -> None:
    result = shortened(["Rain fell for days on end.", SEA + TOWN], min_tokens=20, max_tokens=30)
    assert result.documents == ["Rain fell for days on end.", ANSWER]
    assert result.stats.passed_through == 1 and result.kept[0].ranges == ((0, 26),)
    assert result.kept[0].sentences == () and result.tokens[0][0] == result.tokens[0][1] > 0


def test_a_lone_surrogate_is_refused_or_passes_through() -> None:
    with pytest.raises(InvalidTextError, match=r"U\+D800, at character 7"):
        shortened([TOWN, SURROGATE])
    result = shortened([TOWN, SURROGATE], on_error="passthrough", max_tokens=len(f"{ANSWER}{SURROGATE}") + 5, count=len)
    assert result.documents == [ANSWER, SURROGATE] and result.stats.passed_through == 1
    assert result.tokens[1] == (len(SURROGATE), len(SURROGATE))  # it counts towards the limit, too


def test_tokens_are_counted_by_the_function_of_the_caller() -> None:
    result = shortened(TOWN, max_tokens=len(ANSWER) + 10, count=len)
    assert result.documents == ANSWER
    assert (result.stats.source_tokens, result.stats.positions) == (len(TOWN), len(ANSWER))


@pytest.mark.parametrize("docs", [[], "", ["", " \n"]])
def test_empty_documents_stay_empty(docs: object) -> None:
    result = shortened(docs, ratio=1)
    assert result.documents == docs and result.stats.ratio == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"query": None}, "Pass query="),
        ({"query": ""}, "Pass query="),
        ({"form": "html"}, "form must be 'z' or 'text', got 'html'"),
        ({"count": "nonsense"}, "count must be 'reader'"),
        ({"max_tokens": 1}, "the marks of these documents take 2 tokens"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], error: str) -> None:
    with pytest.raises(OptionError, match=error):
        zprompt.compress([TOWN, SEA], **({"query": QUERY, "form": "text", "relevance": WORDS} | options))


def test_no_llm_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zprompt.codec", None)  # importing it would be an error
    assert ANSWER in shortened([TOWN, SEA]).documents[0]


def test_documents_that_are_z_spans_are_restored_first() -> None:
    def restore(batch: DocumentBatch, on_error: OnError) -> list[str]:
        assert on_error == "raise"
        return [text.replace(SPAN, TOWN) for text in batch.texts]

    docs = [f"{SPAN}\n", SEA, {"text": SPAN}]
    result = shorten(CompressOptions(query=QUERY, max_tokens=110), docs, WORDS, len, restore)
    assert result.documents[0] == ANSWER == result.documents[2]["text"]
    assert result.stats.source_tokens == len(f"{TOWN}\n{SEA}{TOWN}")


def test_a_z_span_that_cannot_be_restored_passes_through_whole() -> None:
    result = shorten(
        CompressOptions(query=QUERY, ratio=2, on_error="passthrough"), [SPAN, TOWN], WORDS, len, restore_nothing
    )
    assert result.documents == [SPAN, ANSWER] and result.stats.passed_through == 1


def restore_nothing(batch: DocumentBatch, on_error: OnError) -> list[str]:
    return list(batch.texts)


def test_code_keeps_its_indentation() -> None:
    code = "def lamp():\n    clean()\n\n    if dark:\n        light_the_lamp()\n    return 3\n" + SEA * 3
    [written] = shortened([code], query="Where is light_the_lamp called?", max_tokens=12).documents
    assert written == "    if dark:\n        light_the_lamp()"


def test_an_object_that_is_no_relevance_is_refused() -> None:
    with pytest.raises(OptionError, match="from_pretrained"):
        zprompt.compress([TOWN], query=QUERY, form="text", relevance=object())  # type: ignore[arg-type]


def test_options_of_the_other_form_are_refused() -> None:
    with pytest.raises(OptionError, match="verify=True applies to Z-spans only"):
        shortened("One. Two.", verify=True)
    with pytest.raises(OptionError, match="applies to form='text' only"):
        zprompt.compress("One. Two.", query="Two?", count=len)
