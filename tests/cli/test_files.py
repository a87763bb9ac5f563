"""JSON lines keep everything but the text of one field."""

import json
from pathlib import PurePath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zprompt.cli.files import Content, Source, read_content
from zprompt.errors import DocumentTypeError
from zprompt.zspan import escape_literal, unescape_literal

SPAN, OTHER = (f"[z2:0123456789ab:0:{digit * 3}:{digit * 8}]" for digit in "01")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.builds(lambda rest, text: {**rest, "text": text}, st.dictionaries(st.text(), JSON_VALUES), st.text())


def content_of(text: str, name: str = "a.jsonl", field: str | None = None, *, restore: bool = False) -> Content:
    return read_content(Source(PurePath(name), text), field, restore=restore)


def restored(lines: str) -> str:
    """Replace all texts of JSON lines by Z-spans, and put them back."""
    content = content_of(lines)
    return content_of(content.render([OTHER] * len(content.texts)), restore=True).render(content.texts)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.z", "jsonl", "a.jsonl.txt"])
def test_a_file_of_another_kind_is_one_text(name: str) -> None:
    assert content_of('{"text": "a"}\n', name).texts == ['{"text": "a"}\n']


@pytest.mark.parametrize("name", ["a.jsonl", "a.JSONL", "a.ndjson", "a.jsonl.z"])
def test_json_lines_are_recognised_by_their_name(name: str) -> None:
    assert content_of('{"text": "a"}\n{"text": "b"}', name).texts == ["a", "b"]


def test_with_a_field_any_file_is_json_lines() -> None:
    assert content_of('{"body": "a", "text": "b"}', "a.txt", "body").texts == ["a"]


def test_everything_but_the_text_stays_byte_for_byte() -> None:
    lines = '\ufeff{ "n" : 1.50, "text":"a" , "e": 1e400, "big": 123456789012345678901}\r\n\r\n \n{"text": "b"}'

    assert content_of(lines).render(["A", "B"]) == lines.replace('"a"', '"A"').replace('"b"', '"B"')


def test_a_nested_field_of_the_same_name_is_another_field() -> None:
    lines = '{"meta": {"text": "inner"}, "text": "outer", "list": ["text", "x"]}'

    assert content_of(lines).render(["new"]) == lines.replace("outer", "new")


def test_the_last_of_two_fields_of_the_same_name_counts() -> None:
    assert content_of('{"text": "a", "text": "b"}').render(["c"]) == '{"text": "a", "text": "c"}'


def test_half_a_surrogate_pair_that_is_left_as_it_is_can_be_written() -> None:
    content = content_of('{"text": "é\\ud83d"}')

    assert content.render(content.texts).encode() == '{"text": "é\\ud83d"}'.encode()


@pytest.mark.parametrize("ensure_ascii", [True, False])
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
@settings(max_examples=30, deadline=None)
@given(records=st.lists(RECORDS, max_size=3))
@example(records=[{"text": "\x7f"}])
def test_texts_that_were_replaced_by_spans_come_back_byte_for_byte(
    records: list[dict[str, object]], ensure_ascii: bool, separators: tuple[str, str]
) -> None:
    lines = "".join(json.dumps(r, ensure_ascii=ensure_ascii, separators=separators) + "\n" for r in records)
    content = content_of(lines)

    replaced = content.render([SPAN] * len(records))

    assert [json.loads(line)["text"] for line in replaced.split("\n")[:-1]] == [SPAN] * len(records)
    assert content_of(replaced, restore=True).render(content.texts) == lines


@pytest.mark.parametrize(
    "literal",
    [
        r'"caf\u00e9 a/b\u007f"',  # Python
        r'"caf\u00e9 a\/b"',  # PHP
        r'"café a\/b"',
        r'"café \u003cb\u003e a/b \u0026"',  # Go
        r'"\u003cb\u003e x \u003d 1"',  # Gson
        r'"\u0022caf\u00E9\u0022 \u002B"',  # .NET
        r'"\uD83C\uDF0D \u001b"'.replace("b", "B"),  # Jackson
        r'"café\u001B"',
        r'"a\/b \ud83d"',
    ],
)
@pytest.mark.parametrize("after", ["", "\t", "\r", " ", "\t\t\r\t"])
def test_a_text_comes_back_in_the_notation_of_the_program_that_wrote_it(literal: str, after: str) -> None:
    lines = f'{{"text": {literal}{after}, "id": "\\/"}}\r\n{{"id":1,"text":"abc"{after}}}'

    assert restored(lines) == lines


@pytest.mark.parametrize("text", [SPAN, f"{SPAN} <é>", "[\\z2:", "[z2:/"])
@pytest.mark.parametrize("after", ["", "\t", "\r", "\t" * 20])
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_a_text_that_looks_like_a_span_comes_back_too(text: str, after: str, ensure_ascii: bool) -> None:
    lines = f'{{"text": {json.dumps(text, ensure_ascii=ensure_ascii)}{after}}}\n'
    content = content_of(lines)
    passed = content_of(content.render([escape_literal(text)]), restore=True)

    assert restored(lines) == lines
    assert passed.render([unescape_literal(passed_text) for passed_text in passed.texts]) == lines


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
