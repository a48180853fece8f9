"""Work that is done in steps, between which other work may be done.

A question goes through so much code that at its end the processor's caches hold nothing of its beginning. A server that
has several questions at once takes each step for all of them before the next one: what a step needs is then there for
all but the first.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Generic, NamedTuple, TypeVar

Result = TypeVar("Result")
Steps = Generator[None, None, Result]


class Ended(NamedTuple, Generic[Result]):
    """What the last step told."""

    result: Result


def step(steps: Steps[Result]) -> Ended[Result] | None:
    """Do the next step; None: it was not the last one."""
    try:
        next(steps)
    except StopIteration as done:
        return Ended(done.value)
    return None


def finished(steps: Steps[Result]) -> Result:
    """Do all steps, one after another; return what the last one tells."""
    while (ended := step(steps)) is None:
        pass
    return ended.result
