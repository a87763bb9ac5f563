"""A text that nobody wants any more leaves its batch, and the others go on as if it had never been there."""

from tests.conftest import SENTENCES
from zprompt.reader.generate import GenerateOptions
from zprompt.reader.reader import Reader
from zprompt.reader.results import Generation


def test_a_text_that_is_not_wanted_any_more_is_not_finished(tiny_reader: Reader) -> None:
    options = GenerateOptions.of(max_new_tokens=12, temperature=1.0, seed=5)
    alone = tiny_reader.complete(SENTENCES[1], max_new_tokens=12, temperature=1.0, seed=5)
    asked: dict[int, int] = {0: 0, 1: 0}

    def wanted(index: int) -> bool:
        asked[index] += 1
        return index == 1 or asked[index] < 5

    done: dict[int, Generation] = {}
    for delta in tiny_reader.run(SENTENCES[:2], options, wanted=wanted):
        if delta.generation:
            done[delta.index] = delta.generation

    assert done == {1: alone}
    assert asked[0] == 5


def test_texts_that_nobody_wants_are_not_begun(tiny_reader: Reader) -> None:
    assert not list(tiny_reader.run(SENTENCES, GenerateOptions(), wanted=lambda _: False))
