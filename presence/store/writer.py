"""The thread that writes the journal, so that the loop goes on while the disk works."""

import queue
import threading
from collections.abc import Callable

from presence.store.submission import Tick


class Writer:
    """Each turn takes everything that is queued: one group, one write."""

    def __init__(self, write: Callable[[list[Tick]], None]) -> None:
        self._write = write
        self._ticks: queue.SimpleQueue[Tick | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="presence-writer", daemon=True)
        self._thread.start()

    def put(self, tick: Tick) -> None:
        """Queue what one tick submitted."""
        self._ticks.put(tick)

    def stop(self) -> None:
        """Return when everything that was put is written."""
        self._ticks.put(None)
        self._thread.join()

    def _run(self) -> None:
        going_on = True
        while going_on:
            ticks = [self._ticks.get()]
            while not self._ticks.empty():
                ticks.append(self._ticks.get())
            going_on = None not in ticks
            group = [tick for tick in ticks if tick is not None]
            if group:
                self._write(group)
