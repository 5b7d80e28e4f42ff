"""Batches that a thread makes while the step before is computed."""

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
AHEAD = 2
_POLL = 0.1


@contextlib.contextmanager
def prefetched(items: Iterable[Item], ahead: int = AHEAD) -> Iterator[Iterator[Item]]:
    """Iterate in a thread.

    Args:
        items: made in the thread; an error there is raised by the iterator.
        ahead: number of items that are made in advance.
    Yields:
        an iterator over the same items; the thread ends with the block.
    """
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(maxsize=ahead)
    leaving = threading.Event()

    def put(item: Item | None, error: BaseException | None = None) -> None:
        while not leaving.is_set():
            with contextlib.suppress(queue.Full):
                ready.put((item, error), timeout=_POLL)
                return

    def work() -> None:
        try:
            for item in items:
                put(item)
                if leaving.is_set():
                    return
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    def taken() -> Iterator[Item]:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        leaving.set()
        thread.join()
