"""JSON lines keep everything but the text of one field."""

import json
from pathlib import PurePath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zprompt.cli.files import Content, Source, read_content
from zprompt.errors import DocumentTypeError

SPAN = "[z2:0123456789ab:0:000:00000000]"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.builds(lambda rest, text: {**rest, "text": text}, st.dictionaries(st.text(), JSON_VALUES), st.text())


def content_of(text: str, name: str = "a.jsonl", field: str | None = None) -> Content:
    return read_content(Source(PurePath(name), text), field)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.z", "jsonl", "a.jsonl.txt"])
def test_a_file_of_another_kind_is_one_text(name: str) -> None:
    assert content_of('{"text": "a"}\n', name).texts == ['{"text": "a"}\n']


@pytest.mark.parametrize("name", ["a.jsonl", "a.JSONL", "a.ndjson", "a.jsonl.z"])
def test_json_lines_are_told_by_their_name(name: str) -> None:
    assert content_of('{"text": "a"}\n{"text": "b"}', name).texts == ["a", "b"]


def test_a_field_makes_any_file_json_lines() -> None:
    assert content_of('{"body": "a", "text": "b"}', "a.txt", "body").texts == ["a"]


def test_all_but_the_text_stays_as_it_was_written() -> None:
    lines = '\ufeff{ "n" : 1.50, "text":"a" , "e": 1e400, "big": 123456789012345678901}\r\n\r\n \n{"text": "b"}'

    assert content_of(lines).render(["A", "B"]) == lines.replace('"a"', '"A"').replace('"b"', '"B"')


def test_a_field_of_the_same_name_further_down_is_another_field() -> None:
    lines = '{"meta": {"text": "inner"}, "text": "outer", "list": ["text", "x"]}'

    assert content_of(lines).render(["new"]) == lines.replace("outer", "new")


def test_the_last_of_two_fields_of_the_same_name_counts() -> None:
    assert content_of('{"text": "a", "text": "b"}').render(["c"]) == '{"text": "a", "text": "c"}'


def test_half_an_emoji_that_is_left_as_it_is_can_be_written() -> None:
    content = content_of('{"text": "é\\ud83d"}')

    assert content.render(content.texts).encode() == b'{"text": "\\u00e9\\ud83d"}'


@pytest.mark.parametrize("ensure_ascii", [True, False])
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
@settings(max_examples=30, deadline=None)
@given(records=st.lists(RECORDS, max_size=3))
@example(records=[{"text": "\x7f"}])
def test_texts_that_were_replaced_by_spans_come_back_as_they_were_written(
    records: list[dict[str, object]], ensure_ascii: bool, separators: tuple[str, str]
) -> None:
    lines = "".join(json.dumps(r, ensure_ascii=ensure_ascii, separators=separators) + "\n" for r in records)
    content = content_of(lines)

    replaced = content.render([SPAN] * len(records))

    assert [json.loads(line)["text"] for line in replaced.split("\n")[:-1]] == [SPAN] * len(records)
    assert content_of(replaced).render(content.texts) == lines


def test_a_line_whose_text_is_null_stays_as_it_is() -> None:
    content = read_content(Source(PurePath("a.jsonl"), '{"text": "one"}\n{"text": null}\n{"text": ""}\n'), None)
    assert (list(content.texts), list(content.places)) == (["one", ""], ["a.jsonl, line 1", "a.jsonl, line 3"])
    assert content.render(["1", ""]) == '{"text": "1"}\n{"text": null}\n{"text": ""}\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "line 2: not JSON"),
        ("[1]", "line 2: not a JSON object"),
        ('{"id": 1, "body": "x"}', r"no text under 'text' \(fields with text: 'body'\)"),
        ('{"text": 5}', "fields with text: none"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_line_without_text_is_an_error_that_names_the_line(line: str, message: str) -> None:
    with pytest.raises(DocumentTypeError, match=message):
        content_of('{"text": "fine"}\n' + line)
