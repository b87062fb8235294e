"""Working ahead: results in order, of which the next few are already being made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(work: Callable[[Item], Result], items: Iterable[Item], most: int) -> Iterator[Result]:
    """What `work` makes of each item, in their order, in threads.

    Args:
        work: called once an item.
        items: taken one by one, as there is room.
        most: so many are begun and not yet taken, at most.
    """
    begun: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(most) as pool:
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) >= most:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
