"""A reader answers, replies and completes, from text and Z-spans, alone and in batches, whole and streamed."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from langchain_core.documents import Document

from tests.conftest import SENTENCES
from zprompt.codec.codec import Codec
from zprompt.errors import ContextBudgetError, ForgedSpanError, InvalidTextError, OptionError, WrongCodecError
from zprompt.reader.generate import BatchGenerator, GenerateOptions
from zprompt.reader.prompt import Message, PreparedPrompt, SpanPiece, TextPiece, question_messages
from zprompt.reader.reader import Reader
from zprompt.reader.results import Answer, Calibration, Generation


def user(content: str) -> list[Message]:
    return [{"role": "user", "content": content}]


@pytest.fixture(scope="module")
def spans(chat_codec: Codec) -> list[str]:
    return list(chat_codec.compress([sentence + " the the the the" for sentence in SENTENCES]).documents)


@pytest.fixture(scope="module")
def conversations(spans: list[str]) -> list[list[Message]]:
    contents = [*SENTENCES, *spans, f"Compare {spans[0]} with {SENTENCES[1]} and {spans[2]}{spans[3]}", "?"]
    return [user(content) for content in contents]


@pytest.mark.parametrize("sampling", [{}, {"temperature": 1.0, "top_k": 50, "seed": 5}], ids=["greedy", "sampled"])
def test_a_batch_generates_what_each_conversation_does_alone(
    tiny_reader: Reader, conversations: list[list[Message]], sampling: dict[str, int]
) -> None:
    together = tiny_reader.generate(conversations, max_new_tokens=24, **sampling)

    assert together == [tiny_reader.generate(messages, max_new_tokens=24, **sampling) for messages in conversations]
    assert len({generation.text for generation in together}) > len(conversations) / 2  # the prompts matter


def test_a_small_batch_size_changes_nothing(tiny_reader: Reader, conversations: list[list[Message]]) -> None:
    options = GenerateOptions.of(max_new_tokens=8)

    small, large = (
        {delta.index: delta.generation for delta in tiny_reader.run(conversations, options, size) if delta.generation}
        for size in (3, 100)
    )

    assert small == large
    assert sorted(small) == list(range(len(conversations)))


def test_the_pieces_of_a_stream_are_the_text(tiny_reader: Reader, conversations: list[list[Message]]) -> None:
    wholes = tiny_reader.generate(conversations, max_new_tokens=24, stop=["ou"])

    for messages, whole in zip(conversations, wholes, strict=True):
        stream = tiny_reader.generate(messages, max_new_tokens=24, stop=["ou"], stream=True)
        pieces = list(stream)

        assert "".join(pieces) == whole.text
        assert all(pieces)
        assert stream.generation == whole


def test_a_stream_can_be_closed_early(tiny_reader: Reader) -> None:
    stream = tiny_reader.complete("The fox", stream=True)
    next(stream)
    stream.close()

    assert list(stream) == []
    assert stream.generation is None


def test_errors_of_a_stream_are_raised_before_it_begins(tiny_reader: Reader) -> None:
    with pytest.raises(ContextBudgetError):
        tiny_reader.complete("The fox", max_new_tokens=5000, stream=True)
    with pytest.raises(OptionError, match="a single prompt"):
        tiny_reader.complete(["a", "b"], stream=True)  # type: ignore[call-overload]


def test_usage_counts_z_tokens_as_one_position_each(tiny_reader: Reader, spans: list[str]) -> None:
    text = tiny_reader.generate(user("Read this: "), max_new_tokens=2).usage
    with_span = tiny_reader.generate(user("Read this: " + spans[0]), max_new_tokens=2).usage
    tokens = tiny_reader._parse(spans[0])

    assert text.z_tokens == text.source_tokens == 0
    assert with_span.z_tokens == len(tokens) < with_span.source_tokens == sum(token.gap + 1 for token in tokens)
    assert with_span.prompt_positions == text.prompt_positions + len(tokens)
    assert with_span.generated_tokens == 2


def test_embeddings_are_those_of_the_positions(tiny_reader: Reader, spans: list[str]) -> None:
    embedded = tiny_reader.embed(f"The{spans[0]} fox")
    table = tiny_reader.backbone.embeddings
    tokens = tiny_reader._parse(spans[0])

    assert embedded.shape == (tiny_reader.count(f"The{spans[0]} fox").positions, table.shape[1])
    assert torch.equal(embedded[0], table[tiny_reader.backbone.start_id])
    for vector, token in zip(
        embedded[-len(tokens) - len(tiny_reader.tokenizer.encode(" fox")) :], tokens, strict=False
    ):
        assert torch.equal(vector, table[token.anchor]) == (token.gap == 0)
    assert not embedded.requires_grad


def test_gaps_change_what_is_generated(tiny_reader: Reader, chat_codec: Codec, spans: list[str]) -> None:
    anchors = [token.anchor for token in tiny_reader._parse(spans[0])]

    assert tiny_reader.complete(spans[0], max_new_tokens=20).text != (
        tiny_reader.complete(chat_codec.backbone.decode(anchors), max_new_tokens=20).text
    )


def test_an_answer_is_the_reply_to_the_question_in_few_words(tiny_reader: Reader, spans: list[str]) -> None:
    passages = [SENTENCES[0], spans[1], {"text": spans[2], "title": "Moon"}, Document(page_content=SENTENCES[3])]

    answer = tiny_reader.answer("Who walked?", passages, max_passage_tokens=None, max_new_tokens=20)
    reply = tiny_reader.generate(question_messages("Who walked?", passages), max_new_tokens=20)

    assert answer == Answer("Who walked?", reply.text.strip(), reply.finish_reason, reply.usage, answer.confidence)
    assert tiny_reader.answer("Who walked?", passages).usage.generated_tokens == 64


def test_questions_are_answered_together(tiny_reader: Reader, spans: list[str]) -> None:
    questions, passages = ["Who?", "Where?", "Why?"], [SENTENCES[:2], spans[0], []]

    answers = tiny_reader.answer(questions, passages, max_new_tokens=10)

    for question, its_passages, answer in zip(questions, passages, answers, strict=True):
        alone = tiny_reader.answer(question, its_passages, max_new_tokens=10)
        assert answer == replace(alone, confidence=answer.confidence)
        assert answer.confidence == pytest.approx(alone.confidence, abs=1e-5)


def test_the_confidence_is_a_probability_and_decides_what_counts_as_found(tiny_reader: Reader) -> None:
    answer = tiny_reader.answer("Who walked?", SENTENCES, max_new_tokens=1)

    assert 0 < answer.confidence < 1
    assert answer.found == (answer.confidence >= 0.5)


def test_passages_may_come_from_an_iterator(tiny_reader: Reader) -> None:
    whole, streamed = (
        tiny_reader.answer("Who?", passages, max_new_tokens=3) for passages in (SENTENCES, iter(SENTENCES))
    )

    assert streamed == whole


def test_a_calibration_changes_the_confidence(tiny_reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tiny_reader.answer("Who walked?", SENTENCES, max_new_tokens=1)
    monkeypatch.setattr(tiny_reader, "calibration", Calibration(1.0, -100.0))
    after = tiny_reader.answer("Who walked?", SENTENCES, max_new_tokens=1)

    assert after.confidence < before.confidence and not after.found


@pytest.mark.parametrize("passages", [[], "", ["", " \n", "…"], {"text": ""}])
def test_nothing_is_found_in_empty_passages(tiny_reader: Reader, passages: object) -> None:
    answer = tiny_reader.answer("Who walked?", passages)

    assert (str(answer), answer.found, answer.confidence) == ("not found", False, 0.0)


def test_nothing_is_found_in_z_spans_of_empty_texts(tiny_reader: Reader, chat_codec: Codec) -> None:
    blank: list[str] = chat_codec.compress(["", " \n"], ratio=1).documents

    assert tiny_reader.answer("Who walked?", blank).usage.prompt_positions == 0
    assert tiny_reader.answer("Who walked?", [*blank, "Two people walked."]).usage.prompt_positions > 0
    for text in ("x", "Two people walked on the Moon."):
        assert tiny_reader.answer("Who walked?", chat_codec.compress(text).documents).usage.z_tokens > 0


def test_fewer_passage_lists_than_questions_are_refused(tiny_reader: Reader) -> None:
    with pytest.raises(OptionError, match="2 questions but passages for 1"):
        tiny_reader.answer(["Who?", "Where?"], ["one"])


def test_a_prompt_that_does_not_fit_is_refused_with_numbers_before_anything_runs(
    tiny_reader: Reader, spans: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BatchGenerator, "run", lambda *_: pytest.fail("the model ran"))
    prompt = "the" * 1000 + spans[0]
    size = tiny_reader.count(prompt)
    message = (
        rf"{size.positions} positions \({size.positions - size.z_tokens} of text, {size.z_tokens} of Z-tokens "
        rf"for {size.source_tokens} source tokens\), which with max_new_tokens=300 is {size.positions + 300 - 1024} "
        "more than the 1024 positions"
    )

    with pytest.raises(ContextBudgetError, match=message):
        tiny_reader.complete(["short", prompt], max_new_tokens=300)


def test_a_prompt_that_just_fits_is_read(tiny_reader: Reader) -> None:
    prompt = " the" * 1020
    assert tiny_reader.count(prompt).positions == 1021  # including the start token

    assert tiny_reader.complete(prompt, max_new_tokens=3).usage.generated_tokens <= 3
    with pytest.raises(ContextBudgetError, match="is 1 more than"):
        tiny_reader.complete(prompt, max_new_tokens=4)


def test_a_z_span_of_another_codec_is_refused(tiny_reader: Reader, other_span: str) -> None:
    with pytest.raises(WrongCodecError, match=f"but the codec {tiny_reader.codec.fingerprint} is loaded"):
        tiny_reader.generate(user(f"Read {other_span}"))


def test_a_forged_z_span_is_refused(tiny_reader: Reader, spans: list[str]) -> None:
    forged = spans[0][:-2] + ("0" if spans[0][-2] != "0" else "1") + "]"

    with pytest.raises(ForgedSpanError):
        tiny_reader.answer("Who?", forged)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_new_tokens": 0}, "max_new_tokens"), ({"stop": ["a", ""]}, "stop string is empty"), ({"top_p": 2}, "top_p")],
)
def test_options_that_make_no_sense_are_refused(tiny_reader: Reader, options: dict[str, int], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        tiny_reader.complete("The fox", **options)


def test_an_unknown_option_is_a_type_error(tiny_reader: Reader) -> None:
    with pytest.raises(TypeError, match="warmth"):
        tiny_reader.complete("The fox", warmth=1.0)  # type: ignore[call-overload]


def test_a_text_is_no_conversation(tiny_reader: Reader) -> None:
    with pytest.raises(OptionError, match="messages"):
        tiny_reader.generate("Hi")  # type: ignore[call-overload]


def test_prompts_and_options_go_together(tiny_reader: Reader) -> None:
    with pytest.raises(OptionError, match="Got 2 prompts but options for 1"):
        tiny_reader.run(["a", "b"], [GenerateOptions()])
    with pytest.raises(OptionError, match="batch_size"):
        tiny_reader.run(["a"], GenerateOptions(), batch_size=0)


def test_each_prompt_may_have_its_own_options(tiny_reader: Reader) -> None:
    prompts = ["The fox", user("The dog")]
    options = [GenerateOptions.of(max_new_tokens=3), GenerateOptions.of(max_new_tokens=9, temperature=1.0, seed=2)]

    generations = {delta.index: delta.generation for delta in tiny_reader.run(prompts, options) if delta.generation}

    assert generations[0] == tiny_reader.complete("The fox", max_new_tokens=3)
    assert generations[1] == tiny_reader.generate(user("The dog"), max_new_tokens=9, temperature=1.0, seed=2)


def test_a_text_that_is_no_longer_wanted_leaves_the_batch(tiny_reader: Reader) -> None:
    prompts = ["The fox", "The dog", "The sea"]
    options = GenerateOptions.of(max_new_tokens=12)
    pieces = {index: "" for index in range(3)}
    finished = set()

    # The first is dropped after some text, the second before it begins.
    for delta in tiny_reader.run(prompts, options, wanted=lambda index: index == 2 or (index == 0 and not pieces[0])):
        pieces[delta.index] += delta.text
        finished |= {delta.index} if delta.generation else set()

    whole = [generation.text for generation in tiny_reader.complete(prompts, max_new_tokens=12)]
    assert pieces[2] == whole[2] and pieces[1] == ""
    assert pieces[0] and len(pieces[0]) < len(whole[0]) and whole[0].startswith(pieces[0])
    assert finished == {2}


def test_a_text_that_is_no_longer_wanted_is_not_finished(tiny_reader: Reader) -> None:
    options = GenerateOptions.of(max_new_tokens=12, temperature=1.0, seed=5)
    alone = tiny_reader.complete(SENTENCES[1], max_new_tokens=12, temperature=1.0, seed=5)
    calls: dict[int, int] = {0: 0, 1: 0}

    def wanted(index: int) -> bool:
        calls[index] += 1
        return index == 1 or calls[index] < 5

    generations: dict[int, Generation] = {}
    for delta in tiny_reader.run(SENTENCES[:2], options, wanted=wanted):
        if delta.generation:
            generations[delta.index] = delta.generation

    assert generations == {1: alone}
    assert calls[0] == 5


def test_texts_that_are_not_wanted_are_not_begun(tiny_reader: Reader) -> None:
    assert not list(tiny_reader.run(SENTENCES, GenerateOptions(), wanted=lambda _: False))


def test_no_prompts_give_empty_lists(tiny_reader: Reader) -> None:
    assert tiny_reader.complete([]) == []
    assert tiny_reader.answer([], []) == []


def test_several_threads_may_use_a_reader_at_a_time(tiny_reader: Reader, conversations: list[list[Message]]) -> None:
    expected = [tiny_reader.generate(messages, max_new_tokens=8) for messages in conversations]

    with ThreadPoolExecutor(4) as pool:
        generations = list(pool.map(lambda messages: tiny_reader.generate(messages, max_new_tokens=8), conversations))

    assert generations == expected


def test_results_have_a_short_repr_and_turn_into_json(tiny_reader: Reader, spans: list[str]) -> None:
    generation: Generation = tiny_reader.complete(spans[0], max_new_tokens=30)
    answer = tiny_reader.answer("Who?", spans, max_new_tokens=4)

    assert json.loads(json.dumps(generation.to_dict()))["usage"] == generation.usage.to_dict()
    assert json.loads(json.dumps(answer.to_dict()))["question"] == "Who?"
    assert repr(generation).startswith("Generation(") and "length" in repr(generation)
    assert repr(answer).startswith("Answer('Who?' → ")
    assert repr(tiny_reader).startswith("Reader(") and "1024 positions" in repr(tiny_reader)
    assert (str(generation), f"{answer}") == (generation.text, answer.text)


def test_a_prompt_is_read_once(tiny_reader: Reader, spans: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    options = GenerateOptions.of(max_new_tokens=5)
    expected = [
        tiny_reader.generate(user(spans[0]), max_new_tokens=5),
        tiny_reader.complete(spans[1], max_new_tokens=5),
    ]
    prepared = [tiny_reader.prepare(user(spans[0])), tiny_reader.prepare(spans[1], options)]
    sizes = [tiny_reader.count(user(spans[0])), tiny_reader.count(spans[1])]
    monkeypatch.setattr(Reader, "_parse", lambda *_: pytest.fail("it was read again"))

    generations = {delta.index: delta.generation for delta in tiny_reader.run(prepared, options) if delta.generation}

    assert [generations[0], generations[1]] == expected == tiny_reader.complete(prepared, max_new_tokens=5)
    assert [prompt.size for prompt in prepared] == sizes == [tiny_reader.count(prompt) for prompt in prepared]
    assert tiny_reader.prepare(prepared[0], options) is prepared[0]
    with pytest.raises(ContextBudgetError):
        tiny_reader.prepare(prepared[0], GenerateOptions.of(max_new_tokens=1024))


def test_a_prompt_may_be_made_of_pieces(tiny_reader: Reader, spans: list[str]) -> None:
    tokens, ids = tuple(tiny_reader._parse(spans[0])), tiny_reader.tokenizer.encode(" fox")
    prompt = PreparedPrompt.of([TextPiece((tiny_reader.backbone.start_id,)), SpanPiece(tokens), TextPiece(ids)])

    assert tiny_reader.complete(prompt, max_new_tokens=9) == (tiny_reader.complete(spans[0] + " fox", max_new_tokens=9))


def test_a_passage_that_cannot_be_read_is_named(tiny_reader: Reader, other_span: str) -> None:
    with pytest.raises(InvalidTextError, match="The document at position 1"):
        tiny_reader.answer("Who?", ["text", "lone \ud800"])
    with pytest.raises(WrongCodecError, match="The document at position 1"):
        tiny_reader.answer("Who?", ["text", other_span])


@pytest.mark.parametrize("question", [None, 5, ["Who?", None]])
def test_a_question_is_text(tiny_reader: Reader, question: object) -> None:
    with pytest.raises(OptionError, match="question must be a str or a sequence of str"):
        tiny_reader.answer(question, [SENTENCES[0]])  # type: ignore[call-overload]
