"""Ask a server whether its model reads Z-tokens: adapters send Z-spans to those that say so, and text to all others.

A server that reads them names its codec in the list of models, as `zprompt serve` does:

    GET {base_url}/models  →  {"data": [{"id": "zprompt", "codec": "b179c9523d0e", …}, …]}

Each server is asked once per process, with a short timeout. The hosts of public APIs are not asked: none of them reads
Z-tokens. Only http and https are used, and the key goes only to the host that it was given for.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from http.client import HTTPException
from typing import Literal, TypeAlias
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

AdapterForm: TypeAlias = Literal["auto", "text", "z"]
"""Text for any LLM, Z-spans for one that reads Z-tokens, or Z-spans only if the LLM is known to read them."""

PATIENCE = 2.0  # seconds to wait for a server's answer
PUBLIC = (
    "ai.google.dev",
    "amazonaws.com",
    "anthropic.com",
    "azure.com",
    "cohere.ai",
    "cohere.com",
    "deepseek.com",
    "fireworks.ai",
    "googleapis.com",
    "groq.com",
    "huggingface.co",
    "mistral.ai",
    "nvidia.com",
    "openai.com",
    "openrouter.ai",
    "perplexity.ai",
    "together.ai",
    "together.xyz",
    "x.ai",
)
_URLS = ("openai_api_base", "api_base", "base_url")  # of chat models: LangChain's, LlamaIndex's, others'
_KEYS = ("openai_api_key", "api_key")

logger = logging.getLogger(__name__)
_known: dict[tuple[str, str | None], frozenset[str]] = {}  # codecs that a server names, by its URL and our key
_lock = threading.Lock()


def reads_z_tokens(server: object, fingerprint: Callable[[], str]) -> bool:
    """Return whether a server reads the Z-spans of a codec.

    :param server: The server's base URL, as an OpenAI client takes it, or a chat model that has one.
    :param fingerprint: Returns the codec's fingerprint; not called for a server that reads no Z-spans at all.
    :return: Whether the server says so; if it reads another codec's Z-spans, a warning is logged.
    """
    url, key = _address(server)
    if url is None:
        return False
    codecs = _codecs(url.rstrip("/"), key)
    if not codecs:
        return False
    codec = fingerprint()
    if codec not in codecs:
        logger.warning("The server at %s reads Z-spans of %s, not of %s, so it gets text.", url, sorted(codecs), codec)
    return codec in codecs


def forget_servers() -> None:
    """Forget all answers, so that servers are asked again: one of them may have another model now."""
    with _lock:
        _known.clear()


def _address(server: object) -> tuple[str | None, str | None]:
    """Return the URL and key of a server; a chat model may wrap its key in a secret object."""
    if isinstance(server, str):
        return server, None
    url = next((str(value) for name in _URLS if (value := getattr(server, name, None))), None)
    key: object = next((value for name in _KEYS if (value := getattr(server, name, None))), None)
    if reveal := getattr(key, "get_secret_value", None):
        key = reveal()
    return url, key if isinstance(key, str) else None


def _may_be_asked(url: str) -> bool:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    return parts.scheme in ("http", "https") and not any(
        host == public or host.endswith(f".{public}") for public in PUBLIC
    )


def _codecs(url: str, key: str | None) -> frozenset[str]:
    with _lock:  # held while asking: other threads wait for the same answer
        if (url, key) not in _known:
            _known[url, key] = _ask(url, key)
        return _known[url, key]


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *args: object, **kwargs: object) -> None:
        """Follow no redirect: the key is for this host."""


def _ask(url: str, key: str | None) -> frozenset[str]:
    """Return the codecs that a server names; an empty set if it does not answer as expected."""
    headers = {"Accept": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    try:
        if not _may_be_asked(url):
            return frozenset()
        with build_opener(_NoRedirect).open(Request(f"{url}/models", headers=headers), timeout=PATIENCE) as reply:
            models = json.loads(reply.read(1_000_000))["data"]
        return frozenset(model["codec"] for model in models if isinstance(model.get("codec"), str))
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.info("The server at %s gets text, since it did not say what it reads (%s).", url, error)
        return frozenset()
