"""What a command prints: one JSON object on standard output, or lines for people; progress goes to standard error.

And the options that several commands have.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from configs.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")


def intake_options(does: str) -> Callable[[F], F]:
    """The options of a job that takes data in before it does something, `does`: an imperative."""
    folder = click.option(
        "--folder",
        type=click.Path(path_type=Path),
        help="A folder of tables, or a YAML that describes one, to ingest first.",
    )
    accept = click.option(
        "--accept-data",
        is_flag=False,
        flag_value="accepted by hand",
        metavar="WHY",
        help=f"{does} though the data looks broken: the change is real, and WHY is written down.",
    )
    return lambda command: folder(accept(command))


def settings_of(context: click.Context) -> Settings:
    """Return the settings that the entry built once."""
    settings = context.find_object(Settings)
    if settings is None:
        raise RuntimeError("the command was not started through cli.main")
    return settings


def show(result: Any, lines: list[str], *, as_json: bool) -> None:
    """Print `result` as JSON, or `lines` for people."""
    click.echo(json.dumps(_valid(result), default=str, ensure_ascii=False) if as_json else "\n".join(lines))


def _valid(value: Any) -> Any:
    """JSON knows neither NaN nor infinity: what is not a finite number is null."""
    if isinstance(value, dict):
        return {key: _valid(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def progress(line: str) -> None:
    """Tell on standard error how far a job is."""
    click.echo(line, err=True)
