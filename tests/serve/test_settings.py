"""Settings that no server can work with are refused."""

from __future__ import annotations

import errno

import pytest

from zprompt.errors import OptionError
from zprompt.serve import ServerSettings, bind, is_local, url_of


@pytest.mark.parametrize(
    "setting",
    [
        {"queue_length": 0},
        {"batch_size": 0},
        {"max_request_bytes": 0},
        {"default_new_tokens": 0},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"shutdown_timeout": -1},
        {"batch_wait": -1},
        {"model": ""},
        {"api_key": ""},
        {"api_key": " "},
    ],
    ids=str,
)
def test_a_setting_that_is_not_allowed_is_named(setting: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="API key" if "api_key" in setting else next(iter(setting))):
        ServerSettings(**setting)  # type: ignore[arg-type]


def test_a_port_is_taken_once() -> None:
    with bind("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        assert url_of(bound) == f"http://127.0.0.1:{port}"
        assert is_local(bound)
        with pytest.raises(OSError, match=f"127.0.0.1:{port}") as raised:
            bind("127.0.0.1", port)
        assert raised.value.errno == errno.EADDRINUSE


def test_an_address_that_others_reach_is_not_local() -> None:
    with bind("0.0.0.0", 0) as bound:
        assert not is_local(bound)
