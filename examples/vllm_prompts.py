"""Give prompts with Z-spans to vLLM, first part: what zprompt does (the second is vllm_reader.py).

    vllm_prompts.py work            in zprompt's environment:  export, embeddings, our own reader's greedy answers
    vllm_reader.py work             in vLLM's environment:     vLLM's answers, compared with ours token by token

    work/model/                the exported reader; `vllm serve work/model` takes it, too
    work/prompts.safetensors   (T, D) input embeddings of each prompt
    work/answers.json          each question with our answer: its tokens, the runner-up of each, and by how much it lost
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

import zprompt
from zprompt.reader.export import export_reader
from zprompt.reader.prompt import question_messages
from zprompt.reader.reader import Reader

PASSAGES = {
    "The lighthouse": (
        "The lighthouse on Gull Rock was designed by Margaret Hale and finished in 1834. Its tower of grey granite is 41 "
        "metres high, and 112 steps lead to the lamp. The first keeper, Thomas Harrow, lived there for 38 years with his "
        "two daughters. In 1921 the oil lamp was replaced by an electric one, and the last keeper left in 1967.",
        [
            "Who designed the lighthouse on Gull Rock?",
            "How high is the tower?",
            "How long did Thomas Harrow live there?",
            "When did the lighthouse get an electric lamp?",
        ],
    ),
    "Tides": (
        "In the open ocean the range of the tide is less than one metre. In the Bay of Fundy, on the Atlantic coast of "
        "Canada, it reaches 16 metres. In 1872 William Thomson, later Lord Kelvin, built a machine of wheels and pulleys "
        "that added ten components of the tide and drew the curve of a whole year in four hours.",
        [
            "Where does the tide reach 16 metres?",
            "Who built a machine that drew the curve of the tide?",
            "How many components did the machine add?",
            "How large is the range of the tide in the open ocean?",
        ],
    ),
    "The bridge": (
        "The old bridge over the river Arne has seven arches of red sandstone. It was built between 1492 and 1506 under "
        "the architect Jakob Stein, after a flood had carried away the wooden bridge before it. A chapel stands on its "
        "third pillar. Since 1988 only pedestrians and bicycles may cross it; cars take the new bridge, one kilometre "
        "downstream.",
        [
            "How many arches does the old bridge have?",
            "Who was the architect of the old bridge?",
            "What carried away the wooden bridge?",
            "Who may cross the old bridge since 1988?",
        ],
    ),
    "The orchestra": (
        "The Northport Orchestra gave its first concert on 3 May 1911 in a former fish market. Its first conductor, Anna "
        "Lindqvist, had studied in Vienna and led the orchestra until 1939. Today it has 86 musicians and plays about "
        "110 concerts a year, most of them in the concert hall on Harbour Street, which has 1,940 seats.",
        [
            "Where did the Northport Orchestra give its first concert?",
            "Who was the first conductor of the orchestra?",
            "How many musicians does the orchestra have today?",
            "On which street is the concert hall?",
        ],
    ),
    "The beetle": (
        "The blue stag beetle lives in mountain forests up to a height of 1,800 metres. Its larvae need three years in "
        "rotten beech wood before they become beetles, which live for only six weeks. The beetle was described in 1785 "
        "by the priest Karl Moser, who found it on a walk near Salzburg. It is protected in Austria and in Slovenia.",
        [
            "How long do the larvae stay in rotten wood?",
            "Who described the blue stag beetle?",
            "Near which city was the beetle found?",
            "In which countries is the beetle protected?",
        ],
    ),
}


def questions(ratio: float | None) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Ask each question about its own passage and the next one, both as Z-spans.

    :param ratio: Source tokens for each Z-token; None: the usual ratio.
    :return: Questions with their passages.
    :yields: A question and its passages.
    """
    asked = [own for _, own in PASSAGES.values()]
    texts = [{"title": title, "text": text} for title, (text, _) in PASSAGES.items()]
    spans = list(zprompt.compress(texts, ratio=ratio).documents)
    for place, own in enumerate(asked):
        for question in own:
            yield question, [spans[place], spans[(place + 1) % len(spans)]]


@torch.no_grad()
def greedy(reader: Reader, embedded: Tensor, limit: int) -> dict[str, list[Any]]:
    """Write greedily, one prompt at a time.

    :param reader: The reader.
    :param embedded: (T, D) the prompt.
    :param limit: Tokens to write at most.
    :return: The tokens, the second most likely token at each place, and the distance of their logits.
    """
    cache = reader.decoder.new_cache(1)
    hidden = reader.decoder.run(embedded[None], cache)
    written: dict[str, list[Any]] = {"tokens": [], "runners_up": [], "margins": []}
    while True:
        best = (hidden[0, -1] @ reader.backbone.output_embeddings.T).topk(2)
        written["tokens"].append(int(best.indices[0]))
        written["runners_up"].append(int(best.indices[1]))
        written["margins"].append(float(best.values[0] - best.values[1]))
        if len(written["tokens"]) == limit or written["tokens"][-1] in reader.end_ids:
            return written
        hidden = reader.decoder(best.indices[:1][None], cache)


def main() -> None:
    """Write what vllm_reader.py needs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("work", type=Path, help="folder to write to")
    parser.add_argument("--reader", default="default", help="a shipped reader, or a folder")
    parser.add_argument("--ratio", type=float, default=4.0, help="source tokens for each Z-token (4)")
    parser.add_argument("--tokens", type=int, default=32, help="new tokens of each answer, at most (32)")
    arguments = parser.parse_args()

    reader = zprompt.load_reader(arguments.reader, device="cpu")
    start = time.perf_counter()
    export_reader(reader, arguments.work / "model")
    print(f"exported in {time.perf_counter() - start:.1f} s")

    start = time.perf_counter()
    embeddings, answers = {}, []
    for number, (question, passages) in enumerate(questions(arguments.ratio)):
        messages = question_messages(question, passages)
        embeddings[f"{number:02}"] = embedded = reader.embed(messages)
        written = greedy(reader, embedded, arguments.tokens)
        said = reader.generate(messages, max_new_tokens=arguments.tokens)
        size = reader.count(messages)
        answers.append({"question": question, "text": said.text, **written})
        print(f"{number:02} {size.positions} positions, {size.z_tokens} of them Z-tokens: {said.text!r}")
    print(f"{len(answers)} prompts, each answered twice, in {time.perf_counter() - start:.1f} s")

    save_file(embeddings, arguments.work / "prompts.safetensors")
    (arguments.work / "answers.json").write_text(json.dumps({"limit": arguments.tokens, "answers": answers}, indent=1))


if __name__ == "__main__":
    main()
