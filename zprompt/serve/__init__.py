"""The reader over HTTP, in the form of OpenAI's API.

    client ─► metrics ─► key ─► body limit ─► route ─► admission ─► queue ─► one worker thread ─► reader
                                                                                    │
    client ◄── JSON, or server-sent events ◄── reply ◄── results of the job ◄───────┘

Reading order: `app` (routes) → `service` (settings, how a request waits) → `middleware` and `metrics` (before the
route) → `schemas` (request bodies) → `queue` (jobs and the worker) → `streaming` (replies, deadlines, clients that hang
up) → `errors` → `run` (sockets and signals).

The package needs the extra `serve`; in zprompt, only the command imports it.
"""

from zprompt.serve.run import Server, bind, is_local, serve, url_of
from zprompt.serve.service import ServerSettings

__all__ = ["Server", "ServerSettings", "bind", "is_local", "serve", "url_of"]
