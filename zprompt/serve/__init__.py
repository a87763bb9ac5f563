"""The reader over HTTP, in the form of OpenAI's API.

    client ─► meter ─► auth ─► size limit ─► route ─► admission ─► queue ─► one worker thread ─► reader
                                                                                  │
    client ◄── JSON, or server-sent events ◄── replies ◄── jobs' results ◄────────┘

Reading order: `settings`, `protocol` (what is needed of a reader), `app` (how the parts are put together) → `auth`,
`limits`, `metrics` (what a request passes first) → `schemas` (what may be asked) → `generation` and `conversion` (the
routes) → `jobs` and `batcher` (what waits, and what runs) → `waiting` (deadlines, clients that hang up) → `replies` and
`streaming` (what goes back) → `errors` → `running` (sockets, signals, the end).

It needs the extra `serve`; nothing else in zprompt imports this package.
"""
