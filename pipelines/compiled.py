"""Loops over a request's candidates that numba compiles: what an array library does in dozens of passes, in one.

What is compiled computes as Python would, bit for bit (no fast-math). It is compiled for the stated types when its file
is imported, once for all processes: what it became is kept beside the file, else in the user's cache or in the folder
that NUMBA_CACHE_DIR names. So no request waits for it, and what has other types is refused.

What is kept is made anew when the function's own file changes. So a compiled function calls only compiled functions of
its own file and reads only constants of it; a test holds them to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit, types

Function = TypeVar("Function", bound=Callable[..., Any])
_MODEL = "numpy"  # of errors: nothing is raised, as in arrays; whoever changes it clears what is kept
BOOL, INT, FLOAT, INT32, BYTE = types.boolean, types.int64, types.float64, types.int32, types.uint8


def array(kind: Any, axes: int = 1) -> Any:
    """The type of an argument: an array in C order that is only read."""
    return types.Array(kind, axes, "C", readonly=True)


def written(kind: Any, axes: int = 1) -> Any:
    """The type of an argument: an array in C order that the function changes."""
    return types.Array(kind, axes, "C")


def compiled(*arguments: Any) -> Callable[[Function], Function]:
    """Compile a function of arguments of these types; without types, as a part of those that call it."""

    def make(function: Function) -> Function:
        if not arguments:
            return cast(Function, njit(error_model=_MODEL)(function))
        try:
            return cast(Function, njit(arguments, cache=True, error_model=_MODEL)(function))
        except Exception:  # nowhere to keep it, a full disk, a damaged file: this process compiles for itself
            return cast(Function, njit(arguments, error_model=_MODEL)(function))

    return make
