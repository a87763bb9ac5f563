"""Bulk compression: files of any size in, files of Z-spans out.

`inputs` cuts files into chunks, a `worker` compresses a chunk as a whole or not at all, `engines` run workers in
processes or on Ray, and `run` puts these together.
"""

from zprompt.batch.engines import DEATHS, Engine
from zprompt.batch.inputs import Chunk, find_sources
from zprompt.batch.run import BatchResult, batch
from zprompt.batch.worker import BAD, EMBEDDINGS, ROWS, RUN, BatchSettings, ChunkResult, ChunkWorker

__all__ = [
    "BAD",
    "DEATHS",
    "EMBEDDINGS",
    "ROWS",
    "RUN",
    "BatchResult",
    "BatchSettings",
    "Chunk",
    "ChunkResult",
    "ChunkWorker",
    "Engine",
    "batch",
    "find_sources",
]
