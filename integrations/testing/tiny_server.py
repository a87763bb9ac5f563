"""A tiny reader behind a real server, over HTTP: its answers are meaningless, its protocol is the real one."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import zprompt
from zprompt.llm import llama_of
from zprompt.reader import Reader, ZEmbedding
from zprompt.serve import Server, ServerSettings, bind, url_of

KEY = "secret"
PATIENCE = 60.0  # seconds until a test that hangs fails instead


@dataclass
class Served:
    """A reader that can be asked at a URL, and directly."""

    url: str  # with /v1
    reader: Reader


@contextmanager
def serving(codec: str) -> Iterator[Served]:
    """Serve a codec's own backbone as its reader, until the block ends.

    :param codec: The folder of the codec.
    :yields: The server.
    """
    loaded = zprompt.load(codec, device="cpu", quantization="none")
    embedding = ZEmbedding(loaded.backbone.hidden_size).eval()
    reader = Reader(loaded, llama_of(loaded.backbone), embedding, "tiny")
    with bind("127.0.0.1", 0) as bound:
        server = Server(reader, ServerSettings(api_key=KEY))
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            end = time.monotonic() + PATIENCE
            while not server.started:
                assert time.monotonic() < end, "the server never started"
                time.sleep(0.01)
            yield Served(f"{url_of(bound)}/v1", reader)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()
