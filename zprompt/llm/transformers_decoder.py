"""Run any of transformers' causal LMs as a decoder, and turn our Llama into transformers' own.

`TransformersDecoder` runs a transformers model for the codec; `as_transformers` turns a `LlamaDecoder` into a
transformers causal LM, for code that needs one.
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
    """A transformers cache each of whose rows can be rolled back by itself: discarded tokens are masked."""

    def __init__(self, past: Any, batch: int) -> None:  # noqa: ANN401 - importing DynamicCache is slow
        self.past = past
        self.lengths = torch.zeros(batch, dtype=torch.long)  # (B,) on the CPU
        self.positions = torch.zeros(batch, 0, dtype=torch.long)  # (B, S) position of each column's token
        self._mask = torch.zeros(batch, 0, dtype=torch.bool)  # (B, S) False: discarded

    def rollback(self, lengths: Tensor) -> None:
        """Shorten each row to at most its entry of `lengths`, (B,)."""
        self.lengths = torch.minimum(self.lengths, lengths.to("cpu", torch.long))
        self._mask = self._mask & (self.positions < self.lengths[:, None])

    def keep_rows(self, rows: Tensor) -> None:
        """Keep only the rows with these indices, in this order."""
        self.past.batch_select_indices(rows)
        rows = rows.cpu()
        self.lengths, self.positions, self._mask = self.lengths[rows], self.positions[rows], self._mask[rows]

    def advance(self, count: int) -> tuple[Tensor, Tensor]:
        """Add columns for new tokens in every row.

        :param count: New tokens per row.
        :return: Their positions (B, T), and the mask of all columns (B, S + T).
        """
        positions = self.lengths[:, None] + torch.arange(count)
        self.positions = torch.cat((self.positions, positions), dim=1)
        self._mask = torch.cat((self._mask, torch.ones_like(positions, dtype=torch.bool)), dim=1)
        self.lengths = self.lengths + count
        return positions, self._mask


class TransformersDecoder(nn.Module):
    """Maps token ids to hidden states after the final norm, with a transformers model."""

    def __init__(self, base: nn.Module) -> None:
        """Wrap a causal LM's `base_model`, which is the model without its head."""
        super().__init__()
        self.base: Any = base
        parameters = inspect.signature(base.forward).parameters
        self._takes_positions = "position_ids" in parameters
        self._cache_name = "cache" if "cache" in parameters else "past_key_values"  # its name before transformers 5.24
        layer_types = set(getattr(self.base.config, "layer_types", None) or ())
        slides = "sliding_attention" in layer_types or not layer_types
        self._sliding_window: int | None = getattr(self.base.config, "sliding_window", None) if slides else None
        self._masks_by_layer_type = bool(layer_types)

    def forward(self, ids: Tensor, cache: TransformersCache | None = None) -> Tensor:
        """Run the decoder over a batch of token ids, after those in a cache.

        :param ids: (B, T).
        :param cache: The keys and values so far, extended by this call; None: start without any, and keep none.
        :return: (B, T, D).
        """
        if cache is None:
            return cast(Tensor, self.base(input_ids=ids, use_cache=False).last_hidden_state)
        positions, mask = (tensor.to(ids.device) for tensor in cache.advance(ids.shape[1]))
        arguments: dict[str, Any] = {self._cache_name: cache.past}
        if self._takes_positions:
            arguments["position_ids"] = positions
        attention_mask: Any = mask
        if self._sliding_window is not None:
            columns = cache.positions.to(ids.device)
            attention_mask = self._sliding_masks(positions, columns, mask, self._sliding_window)
        output = self.base(input_ids=ids, attention_mask=attention_mask, use_cache=True, **arguments)
        return cast(Tensor, output.last_hidden_state)

    def _sliding_masks(self, positions: Tensor, columns: Tensor, mask: Tensor, window: int) -> Any:  # noqa: ANN401
        """Mask by positions, since transformers measures the sliding window in columns, discarded ones included.

        :param positions: (B, T) positions of the new tokens.
        :param columns: (B, S + T) positions of all columns.
        :param mask: (B, S + T) False: discarded.
        :param window: Tokens that sliding attention sees.
        :return: The mask added to attention scores, (B, 1, T, S + T); a dictionary of masks if there are layer types.
        """
        distance = positions[:, :, None] - columns[:, None, :]
        full = mask[:, None, :] & (distance >= 0)
        lowest = torch.finfo(self.base.dtype).min

        def additive(visible: Tensor) -> Tensor:
            zeros = torch.zeros(visible.shape, dtype=self.base.dtype, device=visible.device)
            return zeros.masked_fill(~visible, lowest)[:, None]

        masks = {"full_attention": additive(full), "sliding_attention": additive(full & (distance < window))}
        return masks if self._masks_by_layer_type else masks["sliding_attention"]

    def new_cache(self, batch: int) -> TransformersCache:
        """Return an empty cache for a batch of so many rows."""
        from transformers import DynamicCache

        # A cache that knows of sliding attention would drop columns by their number.
        past = DynamicCache() if self._sliding_window is not None else DynamicCache(config=self.base.config)
        return TransformersCache(past, batch)


def load_transformers_model(folder: Path) -> Any:  # noqa: ANN401 - any of transformers' causal LMs
    """Load a causal LM with its head in fp32; raise BackboneError if the folder holds something else."""
    from transformers import AutoModelForCausalLM

    try:
        with quiet_transformers():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
        raise BackboneError(
            f"{folder} cannot be loaded as a causal language model: {error} Pass a folder that save_pretrained wrote."
        ) from error
    if getattr(model, "_is_stateful", False):  # Mamba and its like
        raise BackboneError(
            f"{folder} is a recurrent model, whose state cannot be rolled back token by token. Use one with attention."
        )
    return model


def as_transformers(decoder: LlamaDecoder, head: Tensor, folder: Path) -> Any:  # noqa: ANN401 - LlamaForCausalLM
    """Build a LlamaForCausalLM from a decoder's modules, which it shares unless they are packed.

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
