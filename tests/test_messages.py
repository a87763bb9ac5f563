"""Tool results and earlier messages are shortened, all else stays, and a growing conversation keeps its prefix."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.counting import counter
from zprompt.errors import DocumentTypeError, InvalidTextError, OptionError
from zprompt.messages import MARK, MessageShortener, is_code, text_hash
from zprompt.relevance import Relevance

TOWN = (
    "Oldport has a weekly market. The harbour was dredged in 1911. A ferry leaves twice a day. "
    "The lighthouse was built in 1834 by Margaret Hale. Its lamp burns whale oil no more. "
    "Most houses are of red brick. The school has ninety pupils. In winter the bay freezes over. "
    "A railway came in 1870 and left in 1962. The mayor is elected every four years. "
    "Herring was salted here until the war. The museum opens on Sundays. Tourists come for the dunes. "
    "There is one pharmacy. The choir sings in May. A storm took the pier in 1953."
)
QUESTION = "Who built the lighthouse?"
CODE = (
    "def area(width, height):\n    return width * height\n\n\nclass Box:\n    def __init__(self):\n        self.x = 1\n"
    * 6
)
COUNT = counter("reader")


@pytest.fixture
def shortener() -> MessageShortener:
    return MessageShortener(Relevance.from_pretrained(embedder=None))


def user(text: object) -> dict[str, Any]:
    return {"role": "user", "content": text}


def tool(text: object, call: str = "c1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call, "content": text}


def calls(name: str, call: str = "c1") -> dict[str, Any]:
    function = {"name": name, "arguments": "{}"}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": call, "type": "function", "function": function}],
    }


AGENT = [{"role": "system", "content": TOWN}, user(QUESTION), calls("search"), tool(TOWN)]


def test_a_tool_result_is_shortened_for_the_question_before_it(shortener: MessageShortener) -> None:
    before = copy.deepcopy(AGENT)
    result = shortener.shorten(AGENT, ratio=4)

    assert AGENT == before
    assert result.messages[:3] == AGENT[:3]
    assert result.messages[3].keys() == AGENT[3].keys() and result.messages[3]["tool_call_id"] == "c1"
    assert "built in 1834 by Margaret Hale" in result.messages[3]["content"]
    assert COUNT(result.messages[3]["content"]) < COUNT(TOWN) / 3
    assert result.tokens_before == COUNT(TOWN) * 2 + COUNT(QUESTION)
    assert result.tokens_before - result.tokens_after == COUNT(TOWN) - COUNT(result.messages[3]["content"])
    assert result.originals == {}


def test_a_conversation_that_has_grown_begins_with_the_same_messages(shortener: MessageShortener) -> None:
    longer = [*AGENT, {"role": "assistant", "content": TOWN}, user("When was the railway left?"), tool(TOWN, "c2")]
    fresh = MessageShortener(Relevance.from_pretrained(embedder=None))

    assert fresh.shorten(longer, ratio=4).messages[:4] == shortener.shorten(AGENT, ratio=4).messages
    assert "1962" in fresh.shorten(longer, ratio=4).messages[-1]["content"]


def test_the_users_last_message_is_left_alone_and_earlier_ones_are_not(shortener: MessageShortener) -> None:
    pasted = f"{TOWN}\n\n{QUESTION}"

    assert shortener.shorten([user(pasted)], ratio=4).messages == [user(pasted)]
    first = shortener.shorten([user(pasted), {"role": "assistant", "content": "Hale."}, user("Thanks!")], ratio=4)
    assert "Margaret Hale" in first.messages[0]["content"] and QUESTION in first.messages[0]["content"]
    assert COUNT(first.messages[0]["content"]) < COUNT(pasted) / 2


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": TOWN},
        {"role": "developer", "content": TOWN},
        {"role": "assistant", "content": TOWN},
        tool(CODE),
        tool(json.dumps({"rows": [{"name": "Hale", "year": 1834}] * 40})),
        tool("short"),
        tool(None),
        tool([{"type": "image_url", "image_url": {"url": "data:,"}}]),
        {"role": "tool", "content": [{"type": "text", "text": TOWN, "cache_control": {"type": "ephemeral"}}]},
    ],
)
def test_other_messages_are_left_alone(shortener: MessageShortener, message: dict[str, Any]) -> None:
    messages = [user(QUESTION), message, user("And then?")]

    assert shortener.shorten(messages, ratio=8, mark=True).messages == messages


def test_everything_before_a_cache_breakpoint_is_left_alone(shortener: MessageShortener) -> None:
    marked = {"role": "user", "content": [{"type": "text", "text": "Go on.", "cache_control": {"type": "ephemeral"}}]}
    result = shortener.shorten([*AGENT, marked, tool(TOWN, "c2"), user("So?")], ratio=4)

    assert result.messages[:5] == [*AGENT, marked]
    assert len(result.messages[5]["content"]) < len(TOWN)


def test_a_cache_breakpoint_may_be_in_a_nested_part(shortener: MessageShortener) -> None:
    part = {"type": "text", "text": "42", "cache_control": {"type": "ephemeral"}}
    marked = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [part]}]}
    messages = [*AGENT, marked]

    assert shortener.shorten([*messages, user("So?")], ratio=4).messages[:5] == messages
    part["cache_control"] = None  # null means no breakpoint
    assert shortener.shorten([*messages, user("So?")], ratio=4).messages[:5] != messages


def test_text_parts_are_shortened_and_other_parts_stay_in_place(shortener: MessageShortener) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    content = [image, {"type": "text", "text": TOWN, "note": 1}, image]
    [_, _, _, message] = shortener.shorten([*AGENT[:3], tool(content)], ratio=4).messages

    assert message["content"][0] == message["content"][2] == image
    assert message["content"][1].keys() == {"type", "text", "note"}
    assert len(message["content"][1]["text"]) < len(TOWN)


def test_results_for_a_question_that_was_not_sent_stay_whole(shortener: MessageShortener) -> None:
    sent = [user(QUESTION), tool(TOWN), tool(TOWN, "c2")]  # as LiteLLM sends it: the question for c2 is missing
    with_question = [*sent[:2], user("When was the railway left?"), sent[2]]

    assert shortener.shorten(sent).messages == sent
    for options in (
        {"mark": True},
        {"ratio": 4},
        {"query": QUESTION},
    ):  # the original can be retrieved, or the caller decides
        assert shortener.shorten(sent, **options).tokens_after < shortener.shorten(sent).tokens_after
    [_, first, _, second] = shortener.shorten(with_question).messages
    assert "Margaret Hale" in first["content"] and len(first["content"]) < len(TOWN) and second == sent[2]
    single_call = [user(QUESTION), calls("search"), tool(TOWN)]
    assert shortener.shorten(single_call).tokens_after < shortener.shorten(single_call).tokens_before


def test_a_mark_names_the_original_and_lets_texts_without_a_question_be_shortened(shortener: MessageShortener) -> None:
    assert shortener.shorten([tool(TOWN)]).messages == [tool(TOWN)]
    result = shortener.shorten([tool(TOWN)], mark=True)
    text = result.messages[0]["content"]

    assert text.startswith("Oldport has a weekly market.")
    assert result.originals == {text_hash(TOWN): TOWN}
    assert (match := MARK.search(text)) and text_hash(TOWN) in match.group()
    assert COUNT(text) < COUNT(TOWN) / 2
    assert shortener.shorten(result.messages, mark=True).messages == result.messages  # not shortened twice


def test_a_retrieved_original_stays_whole(shortener: MessageShortener) -> None:
    messages = [user(QUESTION), calls("mcp__gateway__headroom_retrieve"), tool(TOWN)]

    assert shortener.shorten(messages, ratio=4, mark=True).messages == messages


PROGRESS = "\n".join(f"tests/test_{number}.py ......  [{number}%]" for number in range(90))
REPORT = f"""{PROGRESS}
>       assert total([1, 2]) == 4
E       AssertionError: 3 == 4
FAILED tests/test_sum.py::test_total
1 failed, 411 passed in 12.34s
"""


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("before", [[], [user("Run the tests.")], [user("Please do all that is left to do.")]])
def test_lines_that_report_a_failure_stay(
    shortener: MessageShortener, before: list[dict[str, Any]], mark: bool
) -> None:
    text = shortener.shorten([*before, tool(REPORT)], mark=mark, ratio=8).messages[-1]["content"]

    assert "AssertionError: 3 == 4" in text and "FAILED tests/test_sum.py::test_total" in text and "1 failed" in text
    assert COUNT(text) < COUNT(REPORT) / 2 or not (before or mark)


def test_a_log_of_failures_gets_shorter(shortener: MessageShortener) -> None:
    log = "".join(f"ERROR worker {number} lost its connection to the queue\n" for number in range(99))
    log += "WARNING the disk of worker 7 is full\n"
    text = shortener.shorten([user("Whose disk is full?"), tool(log)], ratio=4).messages[-1]["content"]

    assert "worker 7 is full" in text and COUNT(text) < COUNT(log) / 2


def test_fenced_code_in_a_text_stays(shortener: MessageShortener) -> None:
    fenced = f"```python\n{CODE}```"
    result = shortener.shorten([user(QUESTION), tool(f"{TOWN}\n\n{fenced}\n\n{TOWN}")], ratio=1.5)

    assert fenced in result.messages[1]["content"]
    assert result.tokens_after < result.tokens_before


def test_an_explicit_query_applies_to_all_texts(shortener: MessageShortener) -> None:
    result = shortener.shorten([user("Hello"), tool(TOWN)], query="When was the railway left?", ratio=4)

    assert "1962" in result.messages[1]["content"]


@pytest.mark.parametrize(
    ("messages", "error", "message"),
    [
        ([user("a"), "b"], DocumentTypeError, r"messages\[1\]"),
        ([{"role": "robot", "content": "a"}], DocumentTypeError, "'robot'"),
        ([user(5)], DocumentTypeError, r"messages\[0\].content"),
        ([user("\ud800")], InvalidTextError, r"messages\[0\]"),
    ],
)
def test_malformed_messages_are_named(
    shortener: MessageShortener, messages: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        shortener.shorten(messages)


def test_a_ratio_below_one_is_refused(shortener: MessageShortener) -> None:
    with pytest.raises(OptionError, match="ratio"):
        shortener.shorten(AGENT, ratio=0.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CODE, True),
        ('{"a": [1, 2]}', True),
        ("[1, 2, 3]", True),
        ("#include <stdio.h>\nint main(void) {\n  return 0;\n}\n", True),
        ("--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n-x = f(1)\n+x = f(2)\n", True),
        (TOWN, False),
        ("[see above] The harbour was dredged.", False),
        ("- one apple\n- two pears\n- three plums\n", False),
        ("2025-03-04 11:02:17 INFO worker-3 job ok\n" * 5, False),
        ("", False),
    ],
)
def test_code_is_told_from_text(text: str, expected: bool) -> None:
    assert is_code(text) is expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TEXTS = st.text(max_size=60) | st.sampled_from([TOWN, CODE, f"{TOWN}\n\n{QUESTION}", TOWN[:300]])
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "tool", "system", "function", "developer"]),
            "content": TEXTS | st.none() | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS})),
        },
        optional={"name": JSON, "tool_calls": JSON, "tool_call_id": JSON},
    ),
    max_size=6,
)
SHORTENER = MessageShortener(Relevance.from_pretrained(embedder=None))


@settings(max_examples=60, deadline=None)
@given(MESSAGES, st.booleans(), st.none() | st.floats(1, 20))
def test_no_conversation_gets_longer_or_loses_anything_but_sentences(
    messages: list[dict[str, Any]], mark: bool, ratio: float | None
) -> None:
    result = SHORTENER.shorten(messages, mark=mark, ratio=ratio)

    assert len(result.messages) == len(messages)
    assert result.tokens_after <= result.tokens_before
    for before, after in zip(messages, result.messages, strict=True):
        assert {**before, "content": None} == {**after, "content": None}
        assert type(before["content"]) is type(after["content"])
    assert all(text_hash(text) == key for key, text in result.originals.items())
    assert SHORTENER.shorten(messages, mark=mark, ratio=ratio) == result
