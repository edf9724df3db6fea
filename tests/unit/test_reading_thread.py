"""The thread that reads XML beside the loop."""

import asyncio
import threading

import pytest

from presence.http import reading
from presence.http.reading import ReadingThread


def test_the_thread_is_another_and_is_renewed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    # lxml keeps the names a thread has met until the thread ends.
    monkeypatch.setattr(reading, "RENEW_AFTER", 3)

    async def run() -> list[threading.Thread]:
        thread = ReadingThread()
        seen = [await thread.run(threading.current_thread) for _ in range(7)]
        thread.close()
        return seen

    seen = asyncio.run(run())
    assert threading.current_thread() not in seen
    assert [seen[0] is one for one in seen] == [True] * 3 + [False] * 4
    assert len(set(seen)) == 3
    for one in set(seen):
        one.join(10)
        assert not one.is_alive()


def test_what_goes_wrong_there_is_raised_here() -> None:
    async def run() -> None:
        thread = ReadingThread()
        with pytest.raises(ZeroDivisionError):
            await thread.run(lambda: 1 // 0)
        assert await thread.run(lambda: 1) == 1
        thread.close()

    asyncio.run(run())
