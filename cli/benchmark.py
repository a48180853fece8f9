"""`facings benchmark`: a published table under its own protocol, our recipes beside it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cli.output import json_option, progress, settings_of, show
from configs.errors import FacingsError, UsageError

# name: (module, folder below the published data, recipes measured when none is named)
TABLES: dict[str, tuple[str, str | None, tuple[str, ...]]] = {
    "complete-journey": ("complete_journey", None, ("ease", "lightfm", "blend", "journey_ranker")),
    "complete-journey-campaigns": ("journey_campaigns", None, ()),
    "cold-items": ("cold_items", None, ("newcomers",)),
    "amazon-loo": ("amazon_loo", "amazon_beauty", ("beauty_sequential",)),
    "movielens-lightfm": ("movielens_lightfm", "ml-100k", ()),
    "tafeng-taiw": ("tafeng_taiw", "tafeng/ta_feng.csv.zip", ("tifu_knn", "repurchase", "tafeng_next_basket")),
    "taobao-taiw": (
        "taobao_taiw",
        "taobao_baskets/TaoBao.json",
        ("tifu_knn", "taobao_repurchase", "taobao_next_basket"),
    ),
}


@click.command(epilog="Example: facings benchmark complete-journey --recipe lightfm --seeds 3 --out lists.csv")
@click.argument("name", metavar="NAME")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="The data's folder, for tafeng and taobao the file; complete-journey… and cold-items bring their own.",
)
@click.option("--recipe", "recipes", multiple=True, metavar="R", help="A recipe to measure; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the test lists (.csv or .parquet).")
@click.option(
    "--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help="Figures are means over seeds."
)
@click.option("--peers", is_flag=True, help="Measure also what a peer's user would use instead.")
@click.option("--against", type=click.Path(path_type=Path), help="Compare with an earlier result (a file of --json).")
@json_option
@click.pass_context
def benchmark(
    context: click.Context,
    name: str,
    data: Path | None,
    recipes: tuple[str, ...],
    out: Path | None,
    seeds: int,
    peers: bool,
    against: Path | None,
    as_json: bool,
) -> None:
    """Reproduce the published table NAME, then measure our recipes.

    Tables: complete-journey, complete-journey-campaigns, cold-items, amazon-loo, movielens-lightfm, tafeng-taiw,
    taobao-taiw.

    The published baselines come first: a figure of ours counts only where they are met. The lists of --out hold recipe,
    setting, user, rank (from 1) and item, in the data's own ids, of the first seed. The run is tracked in MLflow, as
    `facings runs` lists it. Exit code 1 when a published figure was not met.
    """
    settings = settings_of(context)
    if name not in TABLES:
        raise UsageError(f"There is no table {name!r}; there are {', '.join(TABLES)}.")
    if out is not None and out.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"--out {out} must end in .csv or .parquet.")
    from importlib import import_module

    from configs.recipe import load_recipe
    from pipelines.training.batch import write_table
    from pipelines.training.published.earlier import change_lines, changes, read_result
    from pipelines.training.published.runs import track_table

    earlier = None if against is None else read_result(against, name)
    module, folder, usual = TABLES[name]
    known = os.environ.get("FACINGS_BENCHMARK_DATA")
    if data is None and folder is not None and known:
        data = Path(known) / folder
    ours = [load_recipe(recipe) for recipe in recipes or usual]
    table = import_module(f"pipelines.training.published.{module}").run(
        data, ours, seeds=seeds, peers=peers, progress=progress
    )
    result, lines = table.result(), table.text()
    if earlier is not None:
        found = changes(table, earlier)
        result["against"] = [change.model_dump(mode="json") for change in found]
        lines += change_lines(found)
    show(result, lines, as_json=as_json)  # before anything that may fail: it took long to measure
    if out is not None:
        write_table(table.lists, out)
    try:
        track_table(settings, table, ours, data, seeds=seeds, clock=settings.clock())
    except FacingsError as error:  # the table itself is whole and was printed
        progress(f"The run was not tracked: {error}")
    if not table.reproduced:
        context.exit(1)
