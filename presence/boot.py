"""What a start of the server needs beside the node."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from presence.errors import StoreError
from presence.store.base import Store


def count_start(store: Store) -> int:
    """Number this start in the database before anything is sent; CSeq numbers are reserved per start.

    `store` must commit in `flush`. Raises StoreError.
    """
    boot = 1
    for (value,) in store.read("settings_get", ("boot",)):
        boot = int(value or 0) + 1
    failures: list[StoreError | None] = []
    store.submit([("settings_put", ("boot", str(boot).encode()))], failures.append)
    store.flush()
    if failures[0] is not None:
        raise failures[0]
    return boot


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector from looking again and again at what only grows."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
