"""Give prompts with Z-spans to vLLM, second part: what vLLM does with what vllm_prompts.py wrote.

    vllm_reader.py work                                     loads the exported model in this process
    vllm_reader.py work --url http://localhost:8000/v1      asks a vLLM server (docs/vllm.md)
    vllm_reader.py work --transformers                      no vLLM: transformers, with the same embeddings

It needs no zprompt: a prompt is a matrix of input embeddings. Each greedy answer is compared with our own reader's; at
the first difference, the margin between the engine's two best logits is shown.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

Decode: TypeAlias = Callable[[list[int]], str]


@dataclass(frozen=True, slots=True)
class EngineAnswer:
    """The answer of an engine to one prompt."""

    tokens: list[int]  # including the token that ended it, if any
    margins: list[float]  # of each token: its logit less the next best one
    runners_up: list[str]  # text of each next best token


def run_vllm(model: Path, prompts: Sequence[Tensor], limit: int, decode: Decode) -> list[EngineAnswer]:
    """Answer (T, D) prompts with vLLM in this process, with at most `limit` new tokens each."""
    from vllm import LLM, SamplingParams

    start = time.perf_counter()
    # fp32 as in our reader; eager, since compiling takes longer than these few answers.
    llm = LLM(str(model), enable_prompt_embeds=True, dtype="float32", enforce_eager=True, max_model_len=2048)
    print(f"vLLM loaded in {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    # The model's generation_config.json has the tokens that end an answer.
    greedy = SamplingParams(temperature=0, max_tokens=limit, logprobs=2)
    requests = llm.generate([{"prompt_embeds": prompt} for prompt in prompts], greedy, use_tqdm=False)
    print(f"{len(prompts)} prompts in {time.perf_counter() - start:.1f} s")
    answers = []
    for request in requests:
        answer = request.outputs[0]
        best = [
            sorted(((entry.logprob, token) for token, entry in position.items()), reverse=True)
            for position in answer.logprobs
        ]
        margins = [first[0] - second[0] for first, second, *_ in best]
        answers.append(EngineAnswer(list(answer.token_ids), margins, [decode([second[1]]) for _, second, *_ in best]))
    return answers


def run_server(url: str, prompts: Sequence[Tensor], limit: int) -> list[EngineAnswer]:
    """Ask a vLLM server at a URL with /v1, one prompt after the other, with OpenAI's client."""
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="none")
    name = client.models.list().data[0].id
    start = time.perf_counter()
    answers = []
    for prompt in prompts:
        file = io.BytesIO()
        torch.save(prompt, file)
        data = base64.b64encode(file.getvalue()).decode()
        # "prompt" must be given to the client but not to vLLM, which would take "" for a second prompt.
        extra_body = {"prompt": None, "prompt_embeds": data, "return_token_ids": True}
        completion = client.completions.create(
            model=name, prompt="", temperature=0, max_tokens=limit, logprobs=2, extra_body=extra_body
        )
        # token_ids is vLLM's own field; top_logprobs maps, at each position, texts of the best tokens to logprobs.
        choice: Any = completion.choices[0]
        best = [
            sorted(((value, text) for text, value in position.items()), reverse=True)
            for position in choice.logprobs.top_logprobs
        ]
        margins = [first[0] - second[0] for first, second, *_ in best]
        answers.append(EngineAnswer(list(choice.token_ids), margins, [second[1] for _, second, *_ in best]))
    print(f"{len(prompts)} requests in {time.perf_counter() - start:.1f} s")
    return answers


@torch.no_grad()
def run_transformers(model: Path, prompts: Sequence[Tensor], limit: int, decode: Decode) -> list[EngineAnswer]:
    """Answer (T, D) prompts with transformers."""
    from transformers import AutoModelForCausalLM

    llm = AutoModelForCausalLM.from_pretrained(model, local_files_only=True)
    start = time.perf_counter()
    answers = []
    for prompt in prompts:
        mask = torch.ones(1, len(prompt), dtype=torch.long)
        output = llm.generate(
            inputs_embeds=prompt[None],
            attention_mask=mask,
            max_new_tokens=limit,
            return_dict_in_generate=True,
            output_logits=True,
        )
        best = [logits[0].topk(2) for logits in output.logits]
        margins = [float(top.values[0] - top.values[1]) for top in best]
        answers.append(
            EngineAnswer(output.sequences[0].tolist(), margins, [decode([int(top.indices[1])]) for top in best])
        )
    print(f"{len(prompts)} prompts in {time.perf_counter() - start:.1f} s")
    return answers


def compare(number: int, ours: dict[str, Any], theirs: EngineAnswer, decode: Decode) -> bool:
    """Print how an engine's answer compares with ours; return whether text and number of tokens are the same."""
    text, count = decode(theirs.tokens), len(theirs.tokens)
    if (text, count) == (ours["text"], ours["usage"]["generated_tokens"]):
        print(f"{number:02} same, {count} tokens, smallest margin {min(theirs.margins):.4f}: {text!r}")
        return True
    # A character may take several tokens: until it is whole, it is shown as U+FFFD.
    starts = (decode(theirs.tokens[: index + 1]).rstrip("\ufffd") for index in range(count))
    index = next((index for index, start in enumerate(starts) if not ours["text"].startswith(start)), count - 1)
    print(f"{number:02} DIFFERENT from token {index} on: {text!r} instead of {ours['text']!r}")
    print(
        f"   {decode([theirs.tokens[index]])!r} was chosen there before {theirs.runners_up[index]!r} "
        f"by a margin of {theirs.margins[index]:.5f}"
    )
    return False


def main() -> None:
    """Answer the prompts and compare."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("work", type=Path, help="the folder that vllm_prompts.py wrote")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--url", help="ask a server instead")
    how.add_argument("--transformers", action="store_true", help="use transformers instead")
    arguments = parser.parse_args()

    model = arguments.work / "model"
    decode = Tokenizer.from_file(str(model / "tokenizer.json")).decode
    content = json.loads((arguments.work / "answers.json").read_text())
    prompts = [prompt for _, prompt in sorted(load_file(arguments.work / "prompts.safetensors").items())]
    if arguments.url:
        answers = run_server(arguments.url, prompts, content["limit"])
    else:
        run = run_transformers if arguments.transformers else run_vllm
        answers = run(model, prompts, content["limit"], decode)
    same = [
        compare(number, ours, theirs, decode)
        for number, (ours, theirs) in enumerate(zip(content["answers"], answers, strict=True))
    ]
    print(f"{sum(same)} of {len(same)} answers are the same")


if __name__ == "__main__":  # vLLM starts processes that import this file
    main()
