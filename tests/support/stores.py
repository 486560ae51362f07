"""A store in a file, for those who turn it themselves."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from gsrt.log import Log
from gsrt.store.store import Store
from gsrt.worker import Worker


def open_store(path: str, wall: Callable[[], float], entropy: Callable[[int], bytes], log: Log) -> Store:
    """A store that writes at once whatever waits."""
    return Store(path, wall=wall, entropy=entropy, log=log, batch_seconds=0.0, batch_writes=64, waiting_max=1000)


def deliver(store: Store, worker: Worker, seconds: float) -> None:
    """Hands over what they have done; waits for that so long at most."""
    there = [each for each in (store, worker) if each.fileno() >= 0]
    for ready in select.select(there, [], [], seconds)[0]:
        ready.deliver()


def stored(
    store: Store, until: Callable[[Callable[[], object]], None], operation: Callable[..., Any], *arguments: object
) -> Any:
    """What an operation gives, or raises. `until` turns what there is until its argument is true."""
    came: list[tuple[Any, BaseException | None]] = []
    store.submit(operation, arguments, lambda *both: came.append(both))
    until(lambda: came)
    result, error = came[0]
    if error is not None:
        raise error
    return result
