"""`facings loop`: the closed loop on a simulated town."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.output import json_option, progress, show


@click.command(epilog="Example: facings loop --days 14 --seed 1 --variant base --out loop/")
@click.option("--days", type=int, required=True, help="Days that are played.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="The same arguments and seed give the same figures."
)
@click.option("--variant", default="base", show_default=True, help="base, threshold, habit, social or mixed.")
@click.option("--shoppers", type=int, default=2_000, show_default=True)
@click.option("--stores", type=int, default=4, show_default=True)
@click.option(
    "--history-days", type=int, default=180, show_default=True, help="Days before, with goods and offers at random."
)
@click.option("--retrain-every", type=int, default=3, show_default=True, help="Days between two trainings.")
@click.option("--places", type=int, default=4, show_default=True, help="Items on a screen.")
@click.option("--recipe", metavar="R", help="What the product trains; default: a quick one.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="A folder for the page and the figures.")
@json_option
def loop(out: Path | None, as_json: bool, **given: Any) -> None:
    """Let a simulated town, the product that serves it, and other policies play for some days.

    Each policy lives in its own copy of the town: the same shoppers, visits and luck. The product ingests, trains, puts
    what it trained to the gate, decides, takes events, in a home of its own that is removed at the end. Nothing in it
    is real. docs/closed-loop.md tells what each policy knows. Stopped, it leaves nothing and is run again.
    """
    from pydantic import ValidationError

    from configs.errors import UsageError
    from configs.recipe import load_recipe
    from pipelines.closed_loop.config import LoopConfig
    from pipelines.closed_loop.loop import run_loop
    from pipelines.closed_loop.report import summary, write_report

    try:
        config = LoopConfig.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = "".join(f" --{part}".replace("_", "-") for part in first["loc"])
        raise UsageError(
            f"Such a loop cannot be run:{name} {first['msg']}; correct it (facings loop --help)."
        ) from None
    if config.recipe is not None:
        load_recipe(config.recipe)
    result = run_loop(config, out, progress=progress)
    page = None if out is None else write_report(result, out)
    told = summary(result) | {"report": None if page is None else str(page)}
    show(told, _lines(told), as_json=as_json)


def _lines(told: dict[str, Any]) -> list[str]:
    lines = [
        "Simulated, nothing in it is real.",
        f"{'policy':<18}{'over no offer':>15}{'of the oracle':>15}{'a screen visit':>16}",
    ]
    for name, one in told["policies"].items():
        share = one["share_of_oracle"]["value"]
        told_share = "–" if share is None else f"{share:.0%}"
        lines.append(f"{name:<18}{one['incremental']['value']:>15,.0f}{told_share:>15}{one['a_visit']:>16.2f}")
    ratio = told["ratio_to_targeting"]["value"]
    if ratio is not None:
        lines.append(
            f"Facings earned {ratio:.2f} times what {told['best_targeting']} did, the better of two targetings."
        )
    return [*lines, *([f"Page: {told['report']}"] if told["report"] else [])]
