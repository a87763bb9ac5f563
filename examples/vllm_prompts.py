"""Give prompts with Z-spans to vLLM, first part: what zprompt does (the second is vllm_reader.py).

zprompt export reader work/model      the model that vLLM loads
vllm_prompts.py work                  in zprompt's environment:  embeddings, and our own reader's greedy answers
vllm_reader.py work                   in vLLM's environment:     vLLM's answers, compared with ours

work/prompts.safetensors   (T, D) input embeddings of each prompt
work/answers.json          each question with our own answer
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import save_file

import zprompt
from zprompt.reader import question_messages

PASSAGES = {
    "The lighthouse": (
        "The lighthouse on Gull Rock was designed by Margaret Hale and finished in 1834. Its tower of grey granite "
        "is 41 metres high, and 112 steps lead to the lamp. The first keeper, Thomas Harrow, lived there for 38 "
        "years with his two daughters. In 1921 the oil lamp was replaced by an electric one, and the last keeper "
        "left in 1967.",
        [
            "Who designed the lighthouse on Gull Rock?",
            "How high is the tower?",
            "How long did Thomas Harrow live there?",
            "When did the lighthouse get an electric lamp?",
        ],
    ),
    "Tides": (
        "In the open ocean the range of the tide is less than one metre. In the Bay of Fundy, on the Atlantic coast "
        "of Canada, it reaches 16 metres. In 1872 William Thomson, later Lord Kelvin, built a machine of wheels and "
        "pulleys that added ten components of the tide and drew the curve of a whole year in four hours.",
        [
            "Where does the tide reach 16 metres?",
            "Who built a machine that drew the curve of the tide?",
            "How many components did the machine add?",
            "How large is the range of the tide in the open ocean?",
        ],
    ),
    "The bridge": (
        "The old bridge over the river Arne has seven arches of red sandstone. It was built between 1492 and 1506 "
        "under the architect Jakob Stein, after a flood had carried away the wooden bridge before it. A chapel "
        "stands on its third pillar. Since 1988 only pedestrians and bicycles may cross it; cars take the new "
        "bridge, one kilometre downstream.",
        [
            "How many arches does the old bridge have?",
            "Who was the architect of the old bridge?",
            "What carried away the wooden bridge?",
            "Who may cross the old bridge since 1988?",
        ],
    ),
    "The orchestra": (
        "The Northport Orchestra gave its first concert on 3 May 1911 in a former fish market. Its first conductor, "
        "Anna Lindqvist, had studied in Vienna and led the orchestra until 1939. Today it has 86 musicians and "
        "plays about 110 concerts a year, most of them in the concert hall on Harbour Street, which has 1,940 "
        "seats.",
        [
            "Where did the Northport Orchestra give its first concert?",
            "Who was the first conductor of the orchestra?",
            "How many musicians does the orchestra have today?",
            "On which street is the concert hall?",
        ],
    ),
    "The beetle": (
        "The blue stag beetle lives in mountain forests up to a height of 1,800 metres. Its larvae need three years "
        "in rotten beech wood before they become beetles, which live for only six weeks. The beetle was described "
        "in 1785 by the priest Karl Moser, who found it on a walk near Salzburg. It is protected in Austria and in "
        "Slovenia.",
        [
            "How long do the larvae stay in rotten wood?",
            "Who described the blue stag beetle?",
            "Near which city was the beetle found?",
            "In which countries is the beetle protected?",
        ],
    ),
}


def questions(ratio: float | None) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Yield each question with its own passage and the next one, both as Z-spans."""
    questions_of = [asked for _, asked in PASSAGES.values()]
    texts = [{"title": title, "text": text} for title, (text, _) in PASSAGES.items()]
    spans = list(zprompt.compress(texts, ratio=ratio).documents)
    for index, asked in enumerate(questions_of):
        for question in asked:
            yield question, [spans[index], spans[(index + 1) % len(spans)]]


def main() -> None:
    """Write what vllm_reader.py needs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("work", type=Path, help="folder to write to")
    parser.add_argument("--reader", default="default", help="a shipped reader, or a folder")
    parser.add_argument("--ratio", type=float, default=4.0, help="source tokens for each Z-token (4)")
    parser.add_argument("--tokens", type=int, default=32, help="new tokens of each answer, at most (32)")
    arguments = parser.parse_args()

    reader = zprompt.load_reader(arguments.reader, device="cpu", engine="fp32")  # as vLLM computes
    start = time.perf_counter()
    asked = list(questions(arguments.ratio))
    print(f"{len(PASSAGES)} passages to Z-tokens in {time.perf_counter() - start:.1f} s", flush=True)

    prompts = [question_messages(question, passages) for question, passages in asked]
    start = time.perf_counter()
    generations = reader.generate(prompts, max_new_tokens=arguments.tokens)
    print(f"{len(prompts)} answers of our own reader in {time.perf_counter() - start:.1f} s", flush=True)

    arguments.work.mkdir(parents=True, exist_ok=True)
    embeddings = {f"{number:02}": reader.embed(prompt) for number, prompt in enumerate(prompts)}
    save_file(embeddings, arguments.work / "prompts.safetensors")
    answers = [
        {"question": question, **answer.to_dict()} for (question, _), answer in zip(asked, generations, strict=True)
    ]
    # Last, so that whoever waits for it finds both files.
    (arguments.work / "answers.json").write_text(json.dumps({"limit": arguments.tokens, "answers": answers}, indent=1))
    positions, z_tokens, source_tokens = (
        sum(answer["usage"][name] for answer in answers) for name in ("prompt_positions", "z_tokens", "source_tokens")
    )
    print(f"{positions} positions in all, {z_tokens} of them Z-tokens that stand for {source_tokens} tokens")


if __name__ == "__main__":
    main()
