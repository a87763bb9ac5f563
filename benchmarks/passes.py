"""What the bare backbone does with the same texts: forward passes and greedy generation.

Generation starts from the start token and each text's first token, and goes on for as many tokens as the text has.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from zprompt import Codec


def cut(codec: Codec, prose: str, count: int, tokens: int) -> list[str]:
    """Cut a text into pieces of the same number of tokens.

    :param codec: Whose tokens count.
    :param prose: The text; it is repeated if it is too short.
    :param count: Pieces.
    :param tokens: Tokens of each, give or take one where a cut goes through a word.
    :return: The pieces.
    """
    ids = codec.backbone.encode(prose)
    ids *= 1 + count * tokens // len(ids)
    return [codec.backbone.decode(ids[start : start + tokens]) for start in range(0, count * tokens, tokens)]


def token_rows(codec: Codec, texts: Sequence[str]) -> Tensor:
    """Put texts into one tensor.

    :param codec: Whose tokens.
    :param texts: Texts of about the same length.
    :return: (B, T), all as long as the shortest.
    """
    rows = [codec.backbone.encode(text) for text in texts]
    shortest = min(map(len, rows))
    return torch.tensor([row[:shortest] for row in rows])


@torch.no_grad()
def forward_with_head(codec: Codec, rows: Tensor) -> None:
    """Run backbone and LM head, row by row at the head: nobody needs all logits in memory at once.

    :param codec: Whose backbone.
    :param rows: (B, T).
    """
    for hidden in codec.backbone.hidden(rows):
        _ = hidden @ codec.backbone.output_embeddings.T


def _prompts(codec: Codec, rows: Tensor) -> Tensor:
    """Give the start token and each row's first token: (B, 2)."""
    return torch.cat((torch.full_like(rows[:, :1], codec.backbone.start_id), rows[:, :1]), 1).to(codec.backbone.device)


@torch.no_grad()
def generate(codec: Codec, rows: Tensor) -> Tensor:
    """Generate as many tokens as the rows have, with transformers.

    :param codec: Whose backbone.
    :param rows: (B, T).
    :return: (B, 2 + T), prompt and new tokens.
    """
    count, prompts = rows.shape[1], _prompts(codec, rows)
    sequences: Tensor = codec.backbone.model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        do_sample=False,
        use_cache=True,
        min_new_tokens=count,
        max_new_tokens=count,
        pad_token_id=codec.backbone.start_id,
    )
    return sequences


@torch.no_grad()
def generate_plainly(codec: Codec, rows: Tensor) -> Tensor:
    """Generate as many tokens as the rows have, with zprompt's own decoder and cache.

    :param codec: Whose backbone.
    :param rows: (B, T).
    :return: (B, T), the new tokens.
    """
    backbone, cache, new = codec.backbone, codec.backbone.new_cache(len(rows)), []
    given = _prompts(codec, rows)
    for _ in range(rows.shape[1]):
        given = (backbone.hidden(given, cache)[:, -1] @ backbone.output_embeddings.T).argmax(-1, keepdim=True)
        new.append(given)
    return torch.cat(new, 1)
