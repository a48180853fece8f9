"""Work that is done in steps, between which other work may be done.

A question goes through so much code that at its end the processor's caches hold nothing of its beginning. A server that
has several questions at once takes each step for all of them before the next one: what a step needs is then there for
all but the first.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")
Steps = Generator[None, None, Result]


def finished(steps: Steps[Result]) -> Result:
    """Do all steps, one after another; return what the last one tells."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: Result = done.value
            return result
