"""Cut training text into passages: whole paragraphs of one text, as many as fit."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from zprompt.errors import TrainingDataError

Encode = Callable[[str], tuple[list[int], list[tuple[int, int]]]]  # token ids, and where each lies


def cut_passages(texts: Sequence[str], encode: Encode, least: int, most: int, count: int, seed: int) -> list[str]:
    """Cut passages out of texts.

    :param texts: The texts; blank lines end their paragraphs.
    :param encode: The backbone's tokenizer, with offsets.
    :param least: Tokens that a passage has at least.
    :param most: Tokens that it has at most.
    :param count: Passages wanted.
    :param seed: Decides which.
    :return: The passages, each once; fewer if there are no more.
    :raises TrainingDataError: If there is none.
    """
    random = np.random.default_rng(seed)
    passages: dict[str, None] = {}
    for index in random.permutation(len(texts)):
        passages.update(dict.fromkeys(_passages_of(texts[index], encode, least, most)))
        if len(passages) >= 2 * count:  # more than wanted, so that one long text does not fill the end
            break
    if not passages:
        raise TrainingDataError(f"No text has {least} tokens. Give longer texts, or ask for shorter passages.")
    found = list(passages)
    return [found[index] for index in random.permutation(len(found))[:count]]


def _passages_of(text: str, encode: Encode, least: int, most: int) -> Iterator[str]:
    """Collect paragraphs as long as they fit; one that is too long alone is cut."""
    held: list[str] = []
    tokens = 0
    for paragraph in (part.strip() for part in text.split("\n\n") if part.strip()):
        ids, offsets = encode(paragraph)
        if tokens + len(ids) + 1 > most:
            if tokens >= least:
                yield "\n\n".join(held)
            held, tokens = [], 0
        if len(ids) > most:
            yield paragraph[: offsets[most - 2][1]]  # one token to spare: cut text may tokenize otherwise
            continue
        held.append(paragraph)
        tokens += len(ids) + 1
    if tokens >= least:
        yield "\n\n".join(held)
