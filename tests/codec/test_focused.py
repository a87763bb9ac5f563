"""What a query needs stays word for word in a Z-span, which still restores its whole text."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conftest import SENTENCES
from zprompt.codec import codec
from zprompt.codec.codec import Codec
from zprompt.errors import OptionError, SpanError
from zprompt.recent import Recent
from zprompt.relevance import Relevance
from zprompt.results import KeptText
from zprompt.zspan import parse_span

WORDS = Relevance.from_pretrained(embedder=None)
QUERY = "How many people watched them walk on the Moon?"
ANSWER = SENTENCES[2]
TEXT = " ".join(SENTENCES)
OTHER = f"{SENTENCES[1]} {SENTENCES[4]}"

any_ratio = pytest.mark.filterwarnings("ignore::zprompt.errors.RatioWarning")
TEXTS = st.lists(
    st.lists(
        st.sampled_from([*SENTENCES, "é🌍。", "日本。語", "\n- item\n", "[z2:", "Dr. No. "])
        | st.text("ab .\né!", max_size=9),
        max_size=6,
    ).map(" ".join),
    max_size=3,
)


@pytest.fixture
def fresh(tiny_codec: Codec) -> Iterator[Codec]:
    """Return the tiny codec, which remembers no text."""
    tiny_codec._texts.clear()
    yield tiny_codec


def no_llm(*_: object) -> None:
    raise AssertionError("the LLM was run")


def is_verbatim(codec_used: Codec, text: str, kept: KeptText, span: str) -> bool:
    """Return whether all tokens within the kept ranges of a text are anchors."""
    anchors: set[int] = set()
    position = 0
    for token in codec_used.parse(span).tokens:
        anchors.add(position)
        position += token.gap + 1
    _, offsets = codec_used.backbone.encode_with_offsets(text)
    kept_tokens = {
        index
        for index, (first, last) in enumerate(offsets)
        for start, end in kept.ranges
        if text[max(first, start) : min(last, end)].strip()
    }
    return kept_tokens <= anchors


def kept_sentence(sentence: str) -> KeptText:
    """Return a sentence of TEXT as its kept range."""
    start = TEXT.index(sentence)
    return KeptText(((start, start + len(sentence)),), 0.0)


@any_ratio
@settings(max_examples=25)
@given(
    texts=TEXTS,
    length=st.sampled_from(["ratio", "max_tokens", None]),
    ratio=st.floats(1, 30),
    query=st.sampled_from([QUERY, "mud", "語?", "\ud800"]),
    twice=st.booleans(),
)
@example(
    ["The quick brown fox jumps over the lazy dog, and the dog sleeps on in the sun. \na"],
    "max_tokens",
    1.03125,
    QUERY,
    False,
)
def test_any_texts_come_back_from_any_focus(
    tiny_codec: Codec, texts: list[str], length: str | None, ratio: float, query: str, twice: bool
) -> None:
    sizes = [len(tiny_codec.backbone.encode(text)) for text in texts]
    limit = max(1, sum(-(-size // tiny_codec.settings.window) for size in sizes), int(sum(sizes) / ratio))
    options = {"ratio": {"ratio": ratio}, "max_tokens": {"max_tokens": limit}, None: {}}[length]
    docs = tiny_codec.compress(texts).documents if twice else texts
    result = tiny_codec.compress(docs, query=query, relevance=WORDS, **options)
    assert tiny_codec.decompress(result.documents) == [*result.sources] == texts
    assert length != "max_tokens" or result.stats.z_tokens <= limit
    for text, kept, span in zip(texts, result.kept, result.documents, strict=True):
        assert not text.isascii() or is_verbatim(tiny_codec, text, kept, span)


def test_the_sentence_that_answers_is_all_anchors(tiny_codec: Codec) -> None:
    result = tiny_codec.compress([OTHER, TEXT], query=QUERY, ratio=4, relevance=WORDS)
    span, (other, kept) = result.documents[1], result.kept
    assert ANSWER in " ".join(TEXT[start:end] for start, end in kept.ranges)
    assert is_verbatim(tiny_codec, TEXT, kept, span)
    assert kept.relevance > other.relevance
    assert result.sources == (OTHER, TEXT) and result.query == QUERY
    assert ANSWER == TEXT[slice(*max((s.relevance, s.start, s.end) for s in kept.sentences)[1:])].strip()
    assert result.stats.relevance == "words" and 0 < result.stats.verbatim < 1


@pytest.mark.parametrize("ratio", [1, 2, 3, 5])
def test_a_ratio_is_met_with_the_sentences_kept(tiny_codec: Codec, ratio: float) -> None:
    stats = tiny_codec.compress([TEXT * 2, OTHER], query=QUERY, ratio=ratio, relevance=WORDS).stats
    assert stats.ratio == pytest.approx(ratio, rel=0.1) and stats.missed is None


@pytest.mark.parametrize("limit", [12, 20, 40, 80])
def test_max_tokens_is_a_limit(tiny_codec: Codec, limit: int) -> None:
    stats = tiny_codec.compress([TEXT, OTHER], query=QUERY, max_tokens=limit, relevance=WORDS).stats
    assert stats.z_tokens <= limit


def test_a_limit_below_one_token_per_document_is_an_error(tiny_codec: Codec) -> None:
    with pytest.raises(OptionError, match="the first token of each document"):
        tiny_codec.compress([TEXT] * 3, query=QUERY, max_tokens=2, relevance=WORDS)


def test_protected_text_is_kept_too(tiny_codec: Codec) -> None:
    span = tiny_codec.compress(TEXT, query=QUERY, protect=["mud"], max_tokens=60, relevance=WORDS).documents
    assert is_verbatim(tiny_codec, TEXT, kept_sentence("mud"), span)


def test_an_empty_query_is_no_query(tiny_codec: Codec) -> None:
    plain, empty = tiny_codec.compress(TEXT), tiny_codec.compress(TEXT, query="", relevance=WORDS)
    assert plain.documents == empty.documents
    assert empty.kept is None and empty.stats.relevance is None and empty.stats.verbatim == 0


def test_a_z_span_is_focused_without_the_llm(fresh: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fresh.compress([TEXT, {"text": OTHER, "id": 1}]).documents
    direct = fresh.compress([TEXT, OTHER], query=QUERY, max_tokens=60, relevance=WORDS).documents
    with monkeypatch.context() as patch:
        patch.setattr(fresh._compressor, "hidden", no_llm)
        patch.setattr(fresh._decompressor, "restore", no_llm)
        focused = fresh.compress(plain, query=QUERY, max_tokens=60, relevance=WORDS).documents
        with pytest.raises(AssertionError, match="the LLM was run"):
            fresh.compress(f"{TEXT} ", query=QUERY, max_tokens=60, relevance=WORDS)
    spans = [focused[0], focused[1]["text"]]
    assert [fresh.parse(span).tokens for span in spans] == [fresh.parse(span).tokens for span in direct]
    assert fresh.decompress(spans) == [TEXT, OTHER] and focused[1]["id"] == 1


def test_a_focused_z_span_is_focused_on_another_question(fresh: Codec) -> None:
    first = fresh.compress(TEXT, query=QUERY, max_tokens=60, relevance=WORDS).documents
    question = "What do rivers carry to the sea?"
    second = fresh.compress(first, query=question, max_tokens=60, relevance=WORDS).documents
    assert [is_verbatim(fresh, TEXT, kept_sentence(ANSWER), span) for span in (first, second)] == [True, False]
    assert [is_verbatim(fresh, TEXT, kept_sentence(SENTENCES[4]), span) for span in (first, second)] == [False, True]
    assert fresh.decompress(second) == TEXT


def test_a_z_span_whose_text_was_forgotten_is_restored_first(fresh: Codec) -> None:
    plain = fresh.compress([TEXT, OTHER]).documents
    known = fresh.compress(plain, query=QUERY, ratio=4, relevance=WORDS).documents
    fresh._texts.clear()
    assert fresh.compress(plain, query=QUERY, ratio=4, relevance=WORDS).documents == known


def test_a_text_that_was_restored_once_is_remembered(fresh: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fresh.compress(TEXT).documents
    fresh._texts.clear()
    fresh.decompress(plain)
    monkeypatch.setattr(fresh._decompressor, "restore", no_llm)
    assert fresh.compress(plain, query=QUERY, relevance=WORDS).kept[0].relevance > 0


def test_a_codec_forgets_the_least_recently_used_texts(fresh: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "_texts", Recent(len("onethree")))
    spans = {text: fresh.compress(text).documents for text in ("one", "two", "one", "three")}
    assert [fresh._texts.get(fresh.parse(spans[text]).digest) for text in spans] == ["one", None, "three"]


def test_a_full_memory_evicts_the_least_recently_used_entries() -> None:
    recent: Recent[str, int] = Recent(10)
    recent.put("long", 1, 6)
    recent.put("short", 2, 3)
    assert recent.get("long") == 1
    recent.put("new", 3, 4)  # 13 in all: the short one, used least recently, is evicted
    assert [recent.get(key) for key in ("long", "short", "new")] == [1, None, 3]
    recent.put("new", 4, 1)
    recent.put("longer than all", 5, 11)
    assert [recent.get(key) for key in ("long", "new", "longer than all")] == [1, 4, None]


def test_a_z_span_is_read_once(fresh: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    spans = fresh.compress([TEXT, OTHER]).documents
    again = [parse_span(span, fresh.fingerprint) for span in spans]
    monkeypatch.setattr(codec, "parse_span", None)
    assert [fresh.parse(span) for span in spans] == again


def test_texts_that_pass_through_are_kept_whole(tiny_codec: Codec) -> None:
    texts = ["short", "with \ud800", TEXT]
    result = tiny_codec.compress(texts, query=QUERY, ratio=3, min_tokens=8, on_error="passthrough", relevance=WORDS)
    assert result.documents[:2] == texts[:2] and result.kept[0].ranges == ((0, 5),)
    assert result.stats.passed_through == 2
    assert is_verbatim(tiny_codec, TEXT, kept_sentence(ANSWER), result.documents[2])


def test_a_title_helps_to_choose(tiny_codec: Codec) -> None:
    docs = [
        {"text": "It was long. It was cold."},
        {"text": "It was long. It was cold.", "title": "The walk on the Moon"},
    ]
    plain, titled = tiny_codec.compress(docs, query=QUERY, relevance=WORDS).kept
    assert titled.relevance > plain.relevance


def test_max_tokens_covers_what_passes_through(tiny_codec: Codec) -> None:
    tokens = tiny_codec.compress("short", min_tokens=99).stats.positions
    result = tiny_codec.compress(["short", TEXT], query=QUERY, max_tokens=tokens + 9, min_tokens=8, relevance=WORDS)
    assert result.documents[0] == "short" and result.stats.positions <= tokens + 9
    with pytest.raises(OptionError, match=f"documents that pass through take {tokens} tokens"):
        tiny_codec.compress(["short", TEXT], query=QUERY, max_tokens=tokens, min_tokens=8, relevance=WORDS)


@pytest.mark.filterwarnings("ignore::zprompt.errors.RatioWarning")
def test_a_limit_with_no_room_for_a_sentence_says_so(tiny_codec: Codec) -> None:
    missed = tiny_codec.compress(TEXT, query=QUERY, max_tokens=5, relevance=WORDS).stats.missed
    assert missed == "max_tokens=5 has no room for any sentence: none stays word for word"


def test_a_damaged_z_span_beside_a_valid_one_is_an_error(tiny_codec: Codec) -> None:
    span = tiny_codec.compress(TEXT).documents
    with pytest.raises(SpanError, match="The document at position 1"):
        tiny_codec.compress(["text", f"A: {span} B: {span[:-5]} end."], query=QUERY, relevance=WORDS)
