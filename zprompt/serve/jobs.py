"""What waits for the worker, and how its results get from the worker's thread to the event loop.

loop     job = TextJob(…); batcher.submit(job);  async for piece in job: …     job.cancel() at any time
worker   while job.wanted: job.send(piece)  …  job.finish()  or  job.fail(error)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from zprompt.progress import Progress
from zprompt.reader import Delta, GenerateOptions
from zprompt.serve.protocol import Prompt

T = TypeVar("T")


class GivenUpError(Exception):
    """A job ends in the middle, since nobody wants its result any more."""


@dataclass(frozen=True, slots=True)
class _End:
    """The last thing that a job says."""

    error: Exception | None = None


class Job(Generic[T]):
    """Something to be done by the worker, whose results come one by one; made in a running event loop."""

    def __init__(self) -> None:
        """Begin to wait."""
        self._loop = asyncio.get_running_loop()
        self._results: asyncio.Queue[T | _End] = asyncio.Queue()
        self._cancelled = threading.Event()

    @property
    def wanted(self) -> bool:
        """Say whether somebody still waits for the results."""
        return not self._cancelled.is_set()

    def send(self, result: T) -> None:
        """Hand over a result; called by the worker.

        :param result: The result.
        """
        self._put(result)

    def finish(self) -> None:
        """Say that there are no more results; called by the worker."""
        self._put(_End())

    def fail(self, error: Exception) -> None:
        """Say why there are no more results; called by the worker.

        :param error: What went wrong.
        """
        self._put(_End(error))

    def cancel(self) -> None:
        """Want no more results; called in the event loop."""
        self._cancelled.set()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Give the results as they come.

        :yields: A result.
        :raises Exception: What the job failed with.
        """
        while True:
            result = await self._results.get()
            if isinstance(result, _End):
                if result.error:
                    raise result.error
                return
            yield result

    def _put(self, result: T | _End) -> None:
        if self.wanted:
            with suppress(RuntimeError):  # the loop was closed: nobody is there to be told
                self._loop.call_soon_threadsafe(self._results.put_nowait, result)


class TextJob(Job[Delta]):
    """Texts to write for one request; its results have each text's place in the request as their index."""

    def __init__(self, prompts: Sequence[Prompt], options: Sequence[GenerateOptions]) -> None:
        """Say what to write.

        :param prompts: Prompts that were checked.
        :param options: What is asked for, of each.
        """
        super().__init__()
        self.prompts, self.options = prompts, options


class CallJob(Job[Any]):
    """A call of the codec."""

    def __init__(self, call: Callable[[Progress], Any]) -> None:
        """Say what to call.

        :param call: Takes what it is to tell its progress, and gives the result.
        """
        super().__init__()
        self._call = call

    def run(self) -> None:
        """Call it; done by the worker."""
        try:
            self.send(self._call(self._go_on))
        except GivenUpError:
            self.finish()
        except Exception as error:  # noqa: BLE001 - whoever waits for the result is told
            self.fail(error)
        else:
            self.finish()

    def _go_on(self, _stage: str, _done: int, _total: int) -> None:
        """End the call if nobody waits for it: progress is the one thing that it tells us."""
        if not self.wanted:
            raise GivenUpError


AnyJob: TypeAlias = TextJob | CallJob
