"""Load a reader by name: its folder, the codec whose Z-tokens it reads, the backbone with its LoRA merged in."""

from __future__ import annotations

from pathlib import Path

from zprompt.codec import SHIPPED, Codec, shared_codec
from zprompt.llm import llama_of
from zprompt.reader.checkpoint import (
    find_reader,
    load_writer,
    load_z_embedding,
    merged_decoder,
    read_reader_config,
    require_codec_of,
)
from zprompt.reader.reader import Reader


def load_reader(name: str = "default", codec: Codec | str | None = None, device: str = "auto") -> Reader:
    """Load a reader: an LLM that reads the Z-tokens of a codec.

    :param name: A shipped codec, whose reader is meant, or the folder of one that `zprompt train reader` made.
    :param codec: The codec, or what `zprompt.load` takes as its name; None: the one that the reader is shipped with,
        else the default one. What was loaded before is used again.
    :param device: "auto" (a GPU if there is one), "cpu" or "cuda"; a codec that was loaded stays where it is.
    :return: The reader.
    :raises CheckpointError: If it was trained for another codec.
    """
    folder = find_reader(name)
    config = read_reader_config(folder)
    if not isinstance(codec, Codec):
        # Not quantized: a LoRA merges into plain weights, and other weights would be another codec.
        codec = shared_codec(codec or _codec_of(folder), device=device, quantization="none")
    backbone = codec.backbone
    llama_of(backbone)  # of all that may be wrong, say this first
    require_codec_of(folder, codec)
    z_embedding = load_z_embedding(folder, config, backbone.hidden_size).to(backbone.device)
    writer = load_writer(folder, config, backbone.hidden_size)
    if writer:
        writer = writer.to(backbone.device)
    return Reader(codec, merged_decoder(folder, backbone), z_embedding, name, writer)


def _codec_of(folder: Path) -> str:
    """Name the codec that a reader is shipped with, or that it was trained for where it is shipped alone."""
    codec = folder.parent
    return codec.name if codec.parent == SHIPPED and (codec / "config.json").is_file() else "default"
