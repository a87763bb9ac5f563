"""Run any of transformers' causal LMs as a decoder, and turn our Llama into transformers' own.

`TransformersDecoder` runs a transformers model for the codec; `as_transformers` makes a transformers causal LM of a
`LlamaDecoder`, for whatever needs one.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from zprompt.errors import BackboneError
from zprompt.llm.llama import LlamaDecoder
from zprompt.llm.packed import unpack


class TransformersCache:
    """A transformers cache whose rows can be rolled back one by one: forgotten tokens are masked."""

    def __init__(self, past: Any, batch: int) -> None:  # noqa: ANN401 - DynamicCache is not to be imported here
        self.past = past
        self.lengths = torch.zeros(batch, dtype=torch.long)  # (B,) on the CPU
        self.places = torch.zeros(batch, 0, dtype=torch.long)  # (B, S) position of each column's token
        self._seen = torch.zeros(batch, 0, dtype=torch.bool)  # (B, S) False: forgotten

    def rollback(self, lengths: Tensor) -> None:
        """Shorten each row to at most its entry of `lengths`, (B,)."""
        self.lengths = torch.minimum(self.lengths, lengths.to("cpu", torch.long))
        self._seen = self._seen & (self.places < self.lengths[:, None])

    def keep_rows(self, rows: Tensor) -> None:
        """Keep only the rows of these indices, in this order."""
        self.past.batch_select_indices(rows)
        rows = rows.cpu()
        self.lengths, self.places, self._seen = self.lengths[rows], self.places[rows], self._seen[rows]

    def advance(self, count: int) -> tuple[Tensor, Tensor]:
        """Count new tokens in every row as seen.

        :param count: New tokens.
        :return: Their positions (B, T), and the mask of all columns (B, S + T).
        """
        places = self.lengths[:, None] + torch.arange(count)
        self.places = torch.cat((self.places, places), dim=1)
        self._seen = torch.cat((self._seen, torch.ones_like(places, dtype=torch.bool)), dim=1)
        self.lengths = self.lengths + count
        return places, self._seen


class TransformersDecoder(nn.Module):
    """Maps token ids to hidden states after the final norm by a transformers model."""

    def __init__(self, base: nn.Module) -> None:
        """Wrap a causal LM's `base_model`: the model without its head."""
        super().__init__()
        self.base: Any = base
        taken = inspect.signature(base.forward).parameters
        self._takes_positions = "position_ids" in taken
        self._cache_name = "cache" if "cache" in taken else "past_key_values"  # its name before transformers 5.24
        kinds = set(getattr(self.base.config, "layer_types", None) or ())
        slides = "sliding_attention" in kinds or not kinds
        self._reach: int | None = getattr(self.base.config, "sliding_window", None) if slides else None
        self._kinds = kinds or None

    def forward(self, ids: Tensor, cache: TransformersCache | None = None) -> Tensor:
        """Run the decoder over a batch of token ids, after those in a cache.

        :param ids: (B, T).
        :param cache: The keys and values so far, extended by this call; None: there are none, and none are kept.
        :return: (B, T, D).
        """
        if cache is None:
            return cast(Tensor, self.base(input_ids=ids, use_cache=False).last_hidden_state)
        places, seen = cache.advance(ids.shape[1])
        named: dict[str, Any] = {self._cache_name: cache.past}
        if self._takes_positions:
            named["position_ids"] = places.to(ids.device)
        mask: Any = seen.to(ids.device)
        if self._reach is not None:
            mask = self._sliding_masks(places.to(ids.device), cache.places.to(ids.device), mask, self._reach)
        output = self.base(input_ids=ids, attention_mask=mask, use_cache=True, **named)
        return cast(Tensor, output.last_hidden_state)

    def _sliding_masks(self, places: Tensor, columns: Tensor, seen: Tensor, reach: int) -> Any:  # noqa: ANN401
        """Mask by positions, since transformers counts how far attention slides by columns, forgotten ones included.

        :param places: (B, T) positions of the new tokens.
        :param columns: (B, S + T) positions of all columns.
        :param seen: (B, S + T) False: forgotten.
        :param reach: Tokens that sliding attention sees.
        :return: What is added to attention scores, (B, 1, T, S + T), for each kind of layer if there are several.
        """
        distance = places[:, :, None] - columns[:, None, :]
        full = seen[:, None, :] & (distance >= 0)
        least = torch.finfo(self.base.dtype).min

        def added(mask: Tensor) -> Tensor:
            return torch.zeros(mask.shape, dtype=self.base.dtype, device=mask.device).masked_fill(~mask, least)[:, None]

        masks = {"full_attention": added(full), "sliding_attention": added(full & (distance < reach))}
        return masks if self._kinds else masks["sliding_attention"]

    def new_cache(self, batch: int) -> TransformersCache:
        """Return an empty cache of so many rows."""
        from transformers import DynamicCache

        # A cache that knows of sliding attention would throw columns away by their number.
        past = DynamicCache() if self._reach is not None else DynamicCache(config=self.base.config)
        return TransformersCache(past, batch)


def load_transformers_model(folder: Path) -> Any:  # noqa: ANN401 - any of transformers' causal LMs
    """Load a causal LM with its head in fp32; raise BackboneError if the folder holds something else."""
    from transformers import AutoModelForCausalLM

    try:
        with quiet_transformers():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
        raise BackboneError(
            f"{folder} cannot be loaded as a causal language model: {error} Give the folder of one, as "
            f"save_pretrained writes it."
        ) from error
    if getattr(model, "_is_stateful", False):  # Mamba and its like
        raise BackboneError(
            f"{folder} is a recurrent model, whose state cannot be rolled back token by token. Give one with attention."
        )
    return model


def as_transformers(decoder: LlamaDecoder, head: Tensor, folder: Path) -> Any:  # noqa: ANN401 - LlamaForCausalLM
    """Make a LlamaForCausalLM of a decoder's modules, shared unless they are packed.

    :param decoder: The decoder.
    :param head: (V, D) the LM head.
    :param folder: The folder of its config.json.
    :return: The model.
    """
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = LlamaConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    for name, module in unpack(decoder).named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            model.model.set_submodule(name, module)
    model.model.rotary_emb = LlamaRotaryEmbedding(config).to(head.device)
    model.lm_head.weight = nn.Parameter(head, requires_grad=False)
    model.eval()
    return model


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars and messages within a context."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
