"""A thread for reading XML, beside the loop that serves SIP."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

RENEW_AFTER = 500
"""Documents read by one thread: lxml keeps the names it has met until its thread ends."""

T = TypeVar("T")


class ReadingThread:
    """Runs one piece of work at a time, in a thread that is renewed now and then."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._used = 0
        self.lock = asyncio.Lock()
        """To be held while what was read is looked at in the loop: a tree shares its thread's table of names with the
        one that is read next, and lxml does not guard it."""

    async def run(self, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises."""
        if self._pool is None or self._used >= RENEW_AFTER:
            self.close()
            self._pool, self._used = ThreadPoolExecutor(1, "xcap"), 0
        self._used += 1
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Let the thread end when it has done its work."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None
