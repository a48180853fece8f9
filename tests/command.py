"""Runs the real command in this process: what a user sees, without the start of another Python."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from cli.main import main


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> Any:
        """The one JSON value on standard output."""
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The one line in which a failure is told."""
        lines = [line for line in self.err.splitlines() if line.startswith("facings: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err and "unexpected" not in self.err, self.err
        return lines[0]


def facings(*arguments: object) -> Outcome:
    """Run `facings …` with the environment's FACINGS_HOME."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["facings", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as stop:
        return Outcome(int(stop.code or 0), out.getvalue(), err.getvalue())
    finally:
        sys.argv = before
    raise AssertionError("the command did not end with an exit code")
