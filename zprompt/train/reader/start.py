"""Where a reader's training starts: at a LoRA of nothing and codes that mean their words, or at another reader."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from zprompt.backbone.adapter import Adapter, llama_of, new_adapter, projections, read_adapter
from zprompt.codec.codec import Codec
from zprompt.errors import CheckpointError
from zprompt.reader.checkpoint import ADAPTER_FOLDER, find_reader, load_z_embedding, read_reader_config
from zprompt.reader.embedding import ZEmbedding
from zprompt.train.reader.config import ReaderTrainConfig
from zprompt.train.reader.meaning import start_meaning
from zprompt.train.reader.tiles import Tile


@dataclass(frozen=True, slots=True)
class Start:
    """What a run trains on."""

    adapter: Adapter
    embedding: ZEmbedding


def new_start(codec: Codec, config: ReaderTrainConfig) -> Start:
    """Start at a reader of text: a LoRA that changes nothing, and codes without a meaning.

    :param codec: The codec whose Z-tokens are to be read.
    :param config: Has the rank and the input.
    :return: The start.
    """
    adapter = new_adapter(llama_of(codec.backbone), config.rank, config.alpha, config.seed)
    return Start(adapter, ZEmbedding(codec.settings, codec.backbone.hidden_size, codes=config.input != "anchors"))


@torch.no_grad()
def give_meaning(start: Start, tiles: Sequence[Tile], codec: Codec, scale: float) -> None:
    """Let codes start at the words that they stood for.

    :param start: The start, which is changed.
    :param tiles: Passages in Z-tokens.
    :param codec: The codec that made them.
    :param scale: Of the codes, 1 being the sum of the words' embeddings.
    """
    start_meaning(start.embedding, tiles, codec.backbone.embeddings.float().cpu().numpy(), codec.settings)
    start.embedding.scale.fill_(scale)


def start_of(name: str, codec: Codec, config: ReaderTrainConfig) -> Start:
    """Start at another reader.

    :param name: The reader, as `load_reader` takes it.
    :param codec: The codec whose Z-tokens are to be read.
    :param config: Has the rank and the input.
    :return: The start.
    :raises CheckpointError: If that reader has another codec, backbone, input or rank.
    """
    folder = find_reader(name)
    about, adapter = read_reader_config(folder), read_adapter(folder / ADAPTER_FOLDER)
    pairs = {
        "the codec": (about.codec_fingerprint, codec.fingerprint),
        "the backbone": (about.backbone_fingerprint, codec.backbone.weights_fingerprint),
        "the input": (about.input, config.input),
        "the LoRA's rank": (adapter.rank, config.rank),
        "the LoRA's alpha": (adapter.alpha, config.alpha),
        "the LoRA's projections": (set(adapter.down), {name for name, _ in projections(llama_of(codec.backbone))}),
    }
    for what, (its, ours) in pairs.items():
        if its != ours:
            raise CheckpointError(
                f"The reader in {folder} can't be trained on: {what} of it is {its}, of this run {ours}. Choose the "
                "same, or leave out --start-from."
            )
    embedding = load_z_embedding(folder, about, codec.backbone.hidden_size)
    return Start(adapter, embedding.train().requires_grad_())
