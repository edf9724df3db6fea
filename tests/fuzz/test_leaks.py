"""Nothing that comes leaves memory behind: the heap is as large after hundreds of rounds as after some."""

import ctypes
import gc
from collections.abc import Callable

import pytest

from fuzz.targets import TARGETS

WARM_UP, ROUNDS, TIMES = 30, 100, 6
"""Buckets of timers and caches fill up to their bound; a leak goes on each time."""
GROWTH_BYTES = 8_000
"""A leak of one message a round is more."""
FEWER = {"privacy": 8}
"""How many of the seeds, where each takes milliseconds and they are made alike."""
STATELESS = [name for name in TARGETS if name != "node"]


class _Info(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "free", "keep")
    ]


def allocated() -> Callable[[], int]:
    """Return how to ask for the bytes allocated: of the sanitizer when it is loaded, else of the C library."""
    library = ctypes.CDLL(None)
    asan = getattr(library, "__sanitizer_get_current_allocated_bytes", None)
    if asan is not None:
        asan.restype = ctypes.c_size_t
        return lambda: int(asan())
    ask = getattr(library, "mallinfo2", None)
    if ask is None:
        pytest.skip("this C library does not tell what is allocated")
    ask.restype = _Info

    def told() -> int:
        info = ask()
        return int(info.uordblks + info.hblkhd)

    return told


@pytest.mark.parametrize("name", STATELESS)
def test_what_comes_again_and_again_leaves_nothing(name: str) -> None:
    target, ask = TARGETS[name], allocated()
    seeds = [b"", *target.seeds()][: FEWER.get(name)]

    def play(rounds: int) -> None:
        for _ in range(rounds):
            for seed in seeds:
                target.run(seed)
        gc.collect()

    play(WARM_UP)
    growth = []
    for _ in range(TIMES):
        before = ask()
        play(ROUNDS)
        growth.append(ask() - before)
        if growth[-1] < GROWTH_BYTES:
            return
    raise AssertionError(f"grown each time: {growth}")
