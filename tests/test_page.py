"""The page shows every sentence once and in order, whatever the text, and an answer beside them."""

import re
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from markupsafe import Markup

import zprompt
from zprompt.codec import Codec
from zprompt.errors import DocumentTypeError
from zprompt.llm import Backbone
from zprompt.page import Page, find_words, show, visible
from zprompt.reader import NOT_FOUND, Answer, Usage
from zprompt.relevance import Relevance
from zprompt.results import CompressionResult

WORDS = Relevance.from_pretrained(embedder=None)
QUERY = "When was the tower built?"
ANSWER = "The old tower was built in 1256 by a duke."
TOWN = f"Bern lies on the river Aare. {ANSWER} Many people come to see the bears.\n\n"
SEA = "The sea is deep. Whales sing in it."
HOSTILE = "</p></ol><script>alert('&')</script> \x1b[31m\x00\u202e \ud800 \"quoted\""
BASE = Path(zprompt.__file__).parent / "templates" / "base.html"

pytestmark = pytest.mark.filterwarnings("ignore::zprompt.errors.RatioWarning")
TEXTS = st.lists(
    st.lists(
        st.sampled_from(
            [ANSWER, "The sea is deep. ", "\n", "\n\n", "| a | b |\n", "塔很古老。", "البرج قديم. ", "</ol>", "\t"]
        )
        | st.text(max_size=6),
        max_size=6,
    ).map("".join),
    max_size=3,
)


def shortened(docs: object, query: str = QUERY, **options: Any) -> CompressionResult:  # noqa: ANN401
    return zprompt.compress(docs, query=query, form="text", relevance=WORDS, on_error="passthrough", **options)


def answer(text: str, confidence: float = 0.9) -> Answer:
    return Answer(QUERY, text, "stop", Usage(1, 0, 0, 1), confidence)


class Body(HTMLParser):
    """Collects a page's text, that of each passage, and its tags and attributes."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.passages, self.text = list[str](), ""
        self.tags, self.attributes, self.inside = list[str](), list[tuple[str, str | None]](), False
        self.feed(page.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "ol":
            self.passages.append("")
            self.inside = True
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        self.inside &= tag != "ol"

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.inside:
            self.passages[-1] += data

    def rows(self, kind: str) -> int:
        """Count the sentences of a kind."""
        return sum(name == "class" and value is not None and kind in value.split() for name, value in self.attributes)


@settings(max_examples=60)
@given(texts=TEXTS, ratio=st.none() | st.floats(1, 30), reply=st.none() | st.text(max_size=12))
def test_every_sentence_is_there_once_and_in_order(texts: list[str], ratio: float | None, reply: str | None) -> None:
    result = shortened(texts, ratio=ratio)
    body = Body(show(result, reply))
    assert body.passages == [visible(text) for text in texts]
    assert body.rows("row") >= sum(len(kept.sentences) for kept in result.kept)


@settings(max_examples=8)
@given(texts=TEXTS, query=st.sampled_from([None, QUERY]))
def test_z_spans_are_shown_with_the_text_that_they_restore(
    tiny_backbone: Backbone, texts: list[str], query: str | None
) -> None:
    result = Codec(tiny_backbone).compress(texts, query=query, on_error="passthrough", relevance=WORDS)
    assert Body(show(result, "1256")).passages == [visible(text) for text in texts]


def test_kept_and_left_out_sentences_are_marked_with_their_relevance() -> None:
    result = shortened([TOWN, SEA], max_tokens=20)
    body = Body(show(result))
    assert (body.rows("kept"), body.rows("row")) == (1 + 1, 5 + 2)  # sentences and the legend
    assert [value for name, value in body.attributes if name == "data-p"] == [
        "<1%" if 0 < sentence.relevance < 0.005 else f"{sentence.relevance:.0%}"
        for kept in result.kept
        for sentence in kept.sentences
    ]
    assert "1 of 3 sentences stays" in body.text and "none of 2 sentences stay" in body.text
    assert "left out" in body.text and QUERY in body.text and "by words alone" in body.text


def test_z_tokens_are_named_and_without_a_question_there_are_no_scores(tiny_backbone: Backbone) -> None:
    codec = Codec(tiny_backbone)
    focused = Body(show(codec.compress([TOWN, SEA], query=QUERY, ratio=4, relevance=WORDS)))
    plain = Body(show(codec.compress([TOWN, SEA]), answer("in 1256")))
    assert "became Z-tokens" in focused.text and focused.rows("kept") > 1
    assert "No sentence was scored" in plain.text and "Z-tokens" in plain.text and plain.rows("kept") == 0
    assert not any(name == "data-p" for name, _ in plain.attributes)
    assert QUERY in plain.text and "marked in passage 1." in plain.text  # the answer holds its question


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (answer("built in 1256"), ["built in 1256", "Found", "90%", "marked in passage 2."]),
        (answer(NOT_FOUND, 0.2), ["not found", "Not found; confidence 20%"]),
        (answer("1256", 0.4), ["1256", "Counts as not found; confidence 40%", "marked in passage 2."]),
        (answer("Zanzibar"), ["Zanzibar", "None of its words stand in what stays"]),
        ("It was the duke.", ["It was the duke.", "marked in passage 2."]),
    ],
)
def test_an_answer_is_shown_beside_the_passages(reply: Answer | str, shown: Sequence[str]) -> None:
    body = Body(show(shortened([SEA, TOWN], max_tokens=20), reply))
    assert all(piece in body.text for piece in shown)
    assert "aside" in body.tags and ("mark" in body.tags) == ("marked" in body.text)
    assert ("confidence" in body.text) == isinstance(reply, Answer)


def test_without_an_answer_there_is_no_answer_box() -> None:
    assert "aside" not in Body(show(shortened(TOWN))).tags


@pytest.mark.parametrize(
    "document",
    [
        {"text": TOWN, "title": "Bern", "score": 0.7071},
        Document(page_content=TOWN, id="7", metadata={"title": "Bern", "score": 0.7071}),
        NodeWithScore(node=TextNode(text=TOWN, id_="7", metadata={"title": "Bern"}), score=0.7071),
    ],
    ids=lambda document: type(document).__name__,
)
def test_titles_and_retrieval_scores_are_shown(document: object) -> None:
    text = Body(show(shortened([document]))).text
    assert "Bern" in text and "retrieved with a score of 0.707" in text


def test_an_id_replaces_a_missing_title_and_passing_through_is_shown() -> None:
    text = Body(show(shortened([{"text": "Short.", "id": 7}, TOWN], min_tokens=8))).text
    assert "id 7" in text and "left as it is" in text


def test_a_missed_ratio_is_shown() -> None:
    assert "Missed: ratio 50 was requested" in Body(show(shortened(TOWN, ratio=50))).text


def test_hostile_text_is_escaped_everywhere() -> None:
    docs = [
        {"text": text, "title": text, "id": text} for text in (f"{HOSTILE}. {ANSWER}", Markup("<script>x</script>"))
    ]
    page = show(shortened(docs, query=f"{HOSTILE} tower built?"), f"{HOSTILE} 1256")
    for html in (page.html, page._repr_html_()):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800]", html)
        assert "<script" not in html and "url(" not in html and "@import" not in html
    body = Body(page)
    assert "default-src 'none'" in page.html and not {name for name, _ in body.attributes} & {"src", "href", "onload"}
    assert "␛[31m␀�" in body.text
    page.html.encode()


def test_a_notebook_shows_the_page_in_a_sandboxed_frame(tmp_path: Path) -> None:
    page = show(shortened(TOWN))
    frame = Body(Page(page._repr_html_()))
    assert frame.tags == ["div", "iframe"] and ("srcdoc", page.html) in frame.attributes
    assert "sandbox" in dict(frame.attributes) and "html=" not in repr(page)
    page.save(tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_bytes().decode() == page.html


@pytest.mark.parametrize(
    ("reply", "texts", "expected"),
    [
        ("Margaret Hale", ["By Margaret  Hale.", "Hale left."], [["Margaret  Hale"], []]),
        ("Margaret Hale", ["Hale left."], [["Hale"]]),
        (
            "It was designed by Margaret Hale in 1834.",
            ["Designed by a Hale, in 1834"],
            [["Designed by", "Hale, in 1834"]],
        ),
        ("the", ["The end of the story"], [["The", "the"]]),
        ("of the", ["the end"], [[]]),
        ("玛格丽特", ["由玛格丽特·黑尔设计"], [["玛格丽特"]]),
        ("8", ["18 or 8"], [["8"]]),
        ("...", ["..."], [[]]),
        ("", ["text", ""], [[], []]),
    ],
)
def test_the_words_of_an_answer_are_found(reply: str, texts: list[str], expected: list[list[str]]) -> None:
    found = [
        [text[start:end] for start, end in ranges] for text, ranges in zip(texts, find_words(reply, texts), strict=True)
    ]
    assert found == expected


@given(st.text("ab 一.", max_size=9), st.lists(st.text("ab 一.", max_size=30), max_size=3))
def test_found_words_never_overlap(reply: str, texts: list[str]) -> None:
    for text, ranges in zip(texts, find_words(reply, texts), strict=True):
        boundaries = [0, *(boundary for word_range in ranges for boundary in word_range), len(text)]
        assert all(first <= second for first, second in pairwise(boundaries))


def test_the_page_needs_no_torch() -> None:
    program = f"""
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
import zprompt
from zprompt.relevance import Relevance
words = Relevance.from_pretrained(embedder=None)
print(zprompt.show(zprompt.compress({TOWN!r}, query={QUERY!r}, form="text", relevance=words), "1256"))
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stdout.startswith("Page(")


def luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb, as WCAG defines it."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    "scheme", re.findall(r":root \{(.*?)\}", BASE.read_text("utf-8"), re.DOTALL), ids=["light", "dark"]
)
def test_text_has_enough_contrast(scheme: str) -> None:
    colours = dict(re.findall(r"--(\w+): (#\w{6});", scheme))
    pairs = [
        "ink paper",
        "ink card",
        "ink tint",
        "ink mark",
        "soft paper",
        "soft card",
        "good card",
        "bad card",
        "bad paper",
    ]
    for pair in pairs:
        dark, light = sorted(luminance(colours[name]) for name in pair.split())
        assert (light + 0.05) / (dark + 0.05) >= 4.5, pair


def test_only_a_result_can_be_shown() -> None:
    with pytest.raises(DocumentTypeError, match="got list"):
        show(["text"])  # type: ignore[arg-type]
