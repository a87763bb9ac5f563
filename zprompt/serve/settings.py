"""How a server behaves: each limit with its unit."""

from __future__ import annotations

from dataclasses import dataclass

from zprompt.errors import OptionError


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The options of one server."""

    model: str = "zprompt"  # the name that requests must give as their model
    api_key: str | None = None  # what clients must send as a bearer token; None: everyone may ask
    max_request_bytes: int = 1 << 20  # of a request's body
    timeout: float = 300.0  # seconds a request may take, from its arrival to its last byte
    queue_length: int = 64  # requests that wait while others are worked on; one more is answered with 429
    batch_size: int = 16  # texts that are written together
    batch_wait: float = 0.01  # seconds an idle worker waits for others that want to be written together
    default_new_tokens: int = 256  # what is written at most where a request does not say it
    shutdown_timeout: float = 30.0  # seconds that running requests have to finish once the server is to stop

    def __post_init__(self) -> None:
        """Refuse what no server can work with."""
        for name in ("max_request_bytes", "queue_length", "batch_size", "default_new_tokens"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not self.timeout > 0:
            raise OptionError(f"timeout must be above 0 seconds, got {self.timeout}.")
        for name in ("batch_wait", "shutdown_timeout"):
            if not getattr(self, name) >= 0:
                raise OptionError(f"{name} must be 0 seconds or more, got {getattr(self, name)}.")
        if not self.model:
            raise OptionError("The model's name is empty. Leave it out for 'zprompt'.")
        if self.api_key is not None and not self.api_key.strip():
            raise OptionError("The API key is empty, so everyone could guess it. Give one, or leave it out for none.")
