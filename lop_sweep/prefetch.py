"""Prefetch: results in order, while the next ones are computed in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(work: Callable[[Item], Result], items: Iterable[Item], max_pending: int) -> Iterator[Result]:
    """Yield the result of `work` for each item, in their order, computing the next ones in threads.

    Args:
        work: called once per item.
        items: taken one by one.
        max_pending: maximum number of results computed ahead of the consumer.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(max_pending) as pool:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) >= max_pending:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
