"""The benchmark of writing in Z-tokens runs, and writes its section."""

import json
from dataclasses import asdict

from benchmarks.tasks.zspace import measure, section
from tests.conftest import SENTENCES
from tests.reader.test_zspace import random_writer
from zprompt.codec.codec import Codec
from zprompt.reader.reader import Reader
from zprompt.train.reader.questions import Passage, Question


def test_both_spaces_are_measured(tiny_reader: Reader, chat_codec: Codec) -> None:
    writing = Reader(chat_codec, tiny_reader.decoder, tiny_reader.z_embedding, "writing", random_writer(chat_codec))
    questions = [Question(f"who {n}?", ("the | dog",), (Passage("", text),)) for n, text in enumerate(SENTENCES)]

    result = measure(writing, questions, max_new_tokens=12)

    text, z = result.spaces
    assert (text.space, z.space) == ("text", "z") and z.answers.texts == len(questions)
    assert z.continuations.passes < text.continuations.passes == text.continuations.with_expansion
    assert 0 <= z.continuations.in_passage <= 1 and z.f1_interval[0] <= z.f1 <= z.f1_interval[1]
    assert json.dumps(asdict(result))
    lines = list(section(result))
    assert lines[0].startswith("## ") and any("passes of the reader" in line for line in lines)
    assert any("the \\| dog" in line for line in lines)
