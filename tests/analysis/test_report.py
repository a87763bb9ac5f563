"""An analysis of a tiny codec is whole, repeatable, and a page."""

import json
from html.parser import HTMLParser

import pytest

from tests.analysis.conftest import TEXTS
from zprompt.analysis.report import Analysis, analyse
from zprompt.cli.analyze_view import render_analysis
from zprompt.codec.codec import Codec
from zprompt.errors import OptionError

VOID = {"meta"}


class Page(HTMLParser):
    """Notes tags that do not fit, ids, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_same_texts_give_the_same_figures_and_the_same_page(codec: Codec, analysis: Analysis) -> None:
    again = analyse(codec, TEXTS)

    assert again == analysis
    assert render_analysis(again) == render_analysis(analysis)


def test_the_figures_fit_together(analysis: Analysis) -> None:
    sample = analysis.sample

    assert (sample.texts, sample.left_out) == (3, 0)
    assert sum(usage.uses for usage in analysis.usage_by_role) == sample.uses > 0
    assert sum(usage.uses for usage in analysis.usage_by_subcode) == sample.uses
    assert sum(share.tokens for share in analysis.word_classes) == sample.source_tokens
    assert sum(stretch.tokens for stretch in analysis.over_text) == sample.source_tokens
    kept = sum(share.kept.value * share.tokens for share in analysis.word_classes)
    assert kept == pytest.approx(sample.z_tokens)


def test_the_most_used_values_show_their_segments(analysis: Analysis) -> None:
    for value in analysis.examples:
        assert value.uses >= sum(count for _, count in value.segments)
        assert value.distinct >= len(value.segments) > 0
        assert value.nearest.segment


def test_figures_are_json(analysis: Analysis) -> None:
    text = json.dumps(analysis.to_dict(), allow_nan=False)

    assert json.loads(text)["sample"]["z_tokens"] == analysis.sample.z_tokens


def test_the_page_is_well_formed_and_holds_the_figures(analysis: Analysis) -> None:
    page = Page(render_analysis(analysis))

    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    assert f"{analysis.sample.ratio:.2f}" in page.text
    for usage in analysis.usage_by_role:
        assert f"{usage.entropy_bits:.2f}" in page.text
    for row in analysis.in_context:
        assert f"{row.cosine.value:.3f}" in page.text
    assert "svg" in page.tags
    assert not page.tags & {"script", "img", "link", "iframe"}


def test_charts_take_the_colours_of_the_page(analysis: Analysis) -> None:
    page = render_analysis(analysis)

    assert "var(--ink)" in page
    assert "#0102" not in page
    assert "#0a0b" not in page


def test_texts_of_strangers_stay_text(codec: Codec) -> None:
    page = Page(render_analysis(analyse(codec, ["<script>alert(1)</script> the the the <b>the</b> the & the" * 3])))

    assert not page.tags & {"script", "b"}


def test_parts_of_speech_come_if_they_are_asked_for(codec: Codec, analysis: Analysis) -> None:
    pytest.importorskip("textblob")

    tagged = analyse(codec, TEXTS, with_parts_of_speech=True).parts_of_speech

    assert analysis.parts_of_speech == ()
    assert "determiner" in {share.name for share in tagged}


def test_a_text_of_one_token_can_be_analysed(codec: Codec) -> None:
    analysis = analyse(codec, ["."])

    assert (analysis.usage_by_role, analysis.in_context, analysis.examples) == ((), (), ())
    assert Page(render_analysis(analysis)).open == []


def test_texts_that_cannot_be_analysed_are_counted(codec: Codec) -> None:
    assert analyse(codec, [TEXTS[1], "", "\ud800"]).sample.left_out == 2


def test_texts_are_cut_after_some_tokens(codec: Codec) -> None:
    sample = analyse(codec, [*TEXTS, "Rivers", "\ud800" + TEXTS[0]], tokens=20).sample

    assert (sample.source_tokens, sample.left_out) == (3 * 20 + len(codec.backbone.encode("Rivers")), 1)


def test_a_sample_of_no_text_is_refused(codec: Codec) -> None:
    with pytest.raises(OptionError, match="None of 1 texts"):
        analyse(codec, [""])
