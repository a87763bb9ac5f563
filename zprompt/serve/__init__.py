"""The reader over HTTP, in the form of OpenAI's API.

    client ─► metrics ─► key ─► body limit ─► route ─► admission ─► queue ─► one worker thread ─► reader
                                                                                    │
    client ◄── JSON, or server-sent events ◄── reply ◄── results of the job ◄───────┘

Reading order: `app` (routes) → `service` (settings, how a request waits) → `middleware` and `metrics` (what it passes
first) → `schemas` (the bodies) → `queue` (jobs and the worker) → `streaming` (replies, deadlines, clients that hang
up) → `errors` → `run` (sockets and signals).

It needs the extra `serve`; nothing else in zprompt but its command imports this package.
"""

from zprompt.serve.run import Server, bind, is_local, serve, url_of
from zprompt.serve.service import ServerSettings

__all__ = ["Server", "ServerSettings", "bind", "is_local", "serve", "url_of"]
