"""Give prompts with Z-spans to vLLM, second part: what vLLM does with what vllm_prompts.py wrote.

    vllm_reader.py work                                     loads the exported model in this process
    vllm_reader.py work --url http://localhost:8000/v1      asks `vllm serve work/model --enable-prompt-embeds …`
    vllm_reader.py work --transformers                      no vLLM: transformers, with the same embeddings

It needs no zprompt: a prompt is a matrix of input embeddings. Each greedy answer is compared with our own reader's,
token by token; the first difference is shown with the distance of our two best logits there.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor


def run_vllm(model: Path, prompts: Sequence[Tensor], limit: int) -> list[list[int]]:
    """Write in this process.

    :param model: The exported reader.
    :param prompts: (T, D) each.
    :param limit: New tokens of each answer, at most.
    :return: The tokens of each answer.
    """
    from vllm import LLM, SamplingParams

    start = time.perf_counter()
    # fp32 and eager: the nearest to what our reader computes, and no compiler is needed.
    llm = LLM(str(model), enable_prompt_embeds=True, dtype="float32", enforce_eager=True, max_model_len=2048)
    print(f"vLLM loaded in {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    # detokenize stays on; temperature 0 is greedy. The model's generation_config.json says what ends an answer.
    done = llm.generate([{"prompt_embeds": prompt} for prompt in prompts], SamplingParams(temperature=0, max_tokens=limit))
    print(f"{len(prompts)} prompts in {time.perf_counter() - start:.1f} s")
    return [list(one.outputs[0].token_ids) for one in done]


def run_server(url: str, prompts: Sequence[Tensor], limit: int) -> list[list[int]]:
    """Ask a server, one prompt after the other, with OpenAI's client.

    :param url: Its address, with /v1.
    :param prompts: (T, D) each.
    :param limit: New tokens of each answer, at most.
    :return: The tokens of each answer.
    """
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="none")
    name = client.models.list().data[0].id
    start = time.perf_counter()
    answers = []
    for prompt in prompts:
        file = io.BytesIO()
        torch.save(prompt, file)
        more = {"prompt_embeds": base64.b64encode(file.getvalue()).decode(), "return_token_ids": True}
        done = client.completions.create(model=name, prompt="", temperature=0, max_tokens=limit, extra_body=more)
        answers.append(list(done.choices[0].token_ids))  # type: ignore[attr-defined]  # vLLM's own field
    print(f"{len(prompts)} requests in {time.perf_counter() - start:.1f} s")
    return answers


@torch.no_grad()
def run_transformers(model: Path, prompts: Sequence[Tensor], limit: int) -> list[list[int]]:
    """Write with transformers.

    :param model: The exported reader.
    :param prompts: (T, D) each.
    :param limit: New tokens of each answer, at most.
    :return: The tokens of each answer.
    """
    from transformers import AutoModelForCausalLM

    llm = AutoModelForCausalLM.from_pretrained(model, local_files_only=True)
    start = time.perf_counter()
    answers = []
    for prompt in prompts:
        mask = torch.ones(1, len(prompt), dtype=torch.long)
        ids = llm.generate(inputs_embeds=prompt[None], attention_mask=mask, max_new_tokens=limit)
        answers.append(ids[0].tolist())
    print(f"{len(prompts)} prompts in {time.perf_counter() - start:.1f} s")
    return answers


def compare(number: int, ours: dict[str, Any], theirs: list[int], decode: Any) -> bool:  # noqa: ANN401
    """Print how an answer compares with our reader's.

    :param number: Of the prompt.
    :param ours: Our answer, from answers.json.
    :param theirs: The tokens of the other.
    :param decode: Gives the text of tokens.
    :return: Whether all tokens are the same.
    """
    if theirs == ours["tokens"]:
        print(f"{number:02} same, {len(theirs)} tokens, smallest margin {min(ours['margins']):.4f}: {ours['text']!r}")
        return True
    pairs = zip(theirs, ours["tokens"], strict=False)
    shorter = min(len(theirs), len(ours["tokens"]))
    place = next((place for place, (a, b) in enumerate(pairs) if a != b), shorter)
    print(f"{number:02} DIFFERENT from token {place} on: {decode(theirs)!r} instead of {ours['text']!r}")
    if place < shorter:
        second = "our runner-up" if theirs[place] == ours["runners_up"][place] else "not our runner-up"
        print(f"   {decode([theirs[place]])!r} is {second}; our margin there is {ours['margins'][place]:.5f}")
    return False


def main() -> None:
    """Answer the prompts and compare."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("work", type=Path, help="the folder that vllm_prompts.py wrote")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--url", help="ask a server instead")
    how.add_argument("--transformers", action="store_true", help="use transformers instead")
    arguments = parser.parse_args()

    from tokenizers import Tokenizer

    model = arguments.work / "model"
    decode = Tokenizer.from_file(str(model / "tokenizer.json")).decode
    content = json.loads((arguments.work / "answers.json").read_text())
    prompts = [prompt for _, prompt in sorted(load_file(arguments.work / "prompts.safetensors").items())]
    if arguments.url:
        answers = run_server(arguments.url, prompts, content["limit"])
    else:
        run = run_transformers if arguments.transformers else run_vllm
        answers = run(model, prompts, content["limit"])
    same = [
        compare(number, ours, theirs, decode)
        for number, (ours, theirs) in enumerate(zip(content["answers"], answers, strict=True))
    ]
    print(f"{sum(same)} of {len(same)} answers are the same, token by token")


if __name__ == "__main__":  # vLLM starts processes that import this file
    main()
