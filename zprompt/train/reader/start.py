"""Where a reader's training starts: at a LoRA of nothing and codes that mean their words, or at another reader."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from zprompt.codec import Codec
from zprompt.errors import CheckpointError
from zprompt.llm import Lora, llama_of, new_lora, projections, read_lora
from zprompt.reader import ADAPTER_FOLDER, ZEmbedding, find_reader, load_z_embedding, read_reader_config
from zprompt.train.reader.config import ReaderTrainConfig
from zprompt.train.reader.meaning import start_meaning
from zprompt.train.reader.meta_tokens import tell_apart
from zprompt.train.reader.tiles import Tile


@dataclass(frozen=True, slots=True)
class Start:
    """What a run trains on."""

    adapter: Lora
    embedding: ZEmbedding
    is_new: bool = True  # the embedding, which says nothing yet


def new_start(codec: Codec, config: ReaderTrainConfig) -> Start:
    """Start at a reader of text: a LoRA that changes nothing, and an embedding that says nothing.

    :param codec: The codec whose Z-tokens are to be read.
    :param config: Has the rank and the input.
    :return: The start.
    """
    adapter = new_lora(llama_of(codec.backbone), config.rank, config.alpha, config.seed)
    return Start(adapter, ZEmbedding(codec.settings, codec.backbone.hidden_size, codes=config.input != "anchors"))


def start_of(name: str, codec: Codec, config: ReaderTrainConfig) -> Start:
    """Start at another reader: at its LoRA, and at its Z-embedding if it was trained on the same kind of input.

    :param name: The reader, as `load_reader` takes it.
    :param codec: The codec whose Z-tokens are to be read.
    :param config: Has the rank and the input.
    :return: The start.
    :raises CheckpointError: If that reader has another codec, backbone or rank.
    """
    folder = find_reader(name)
    about, adapter = read_reader_config(folder), read_lora(folder / ADAPTER_FOLDER)
    pairs = {
        "codec": (about.codec_fingerprint, codec.fingerprint),
        "backbone": (about.backbone_fingerprint, codec.backbone.weights_fingerprint),
        "LoRA's rank": (adapter.rank, config.rank),
        "LoRA's alpha": (adapter.alpha, config.alpha),
        "LoRA's projections": (sorted(adapter.down), sorted(name for name, _ in projections(codec.backbone.decoder))),  # type: ignore[arg-type]
    }
    for what, (its, ours) in pairs.items():
        if its != ours:
            raise CheckpointError(
                f"The reader in {folder} can't be trained on: its {what} is {its}, this run's is {ours}. Give this run "
                "the same, or leave out --start-from."
            )
    if about.training.get("input") != config.input:
        return Start(adapter, new_start(codec, config).embedding)
    embedding = load_z_embedding(folder, about, codec.backbone.hidden_size)
    return Start(adapter, embedding.train().requires_grad_(), is_new=False)


@torch.no_grad()
def give_meaning(start: Start, tiles: Sequence[Tile], codec: Codec, config: ReaderTrainConfig) -> None:
    """Let a new embedding start at what values stood for, or at what tells meta-tokens apart.

    :param start: The start, whose embedding is changed if it is new.
    :param tiles: Passages in Z-tokens.
    :param codec: The codec that made them.
    :param config: Has the input, the scale of values, and the seed.
    """
    if not start.is_new:
        return
    if config.input == "ltsc":
        tell_apart(start.embedding, codec.backbone.embeddings, config.seed)
        return
    start_meaning(start.embedding, tiles, codec.backbone.embeddings.float().cpu().numpy(), codec.settings)
    start.embedding.scale.fill_(config.scale)
