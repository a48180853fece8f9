"""`cold-items`: what nobody has bought yet, ranked in its category for the households that go on to buy it.

Nobody published this table; the protocol is ours, on the data of `complete-journey`:

- Data: as `complete-journey`: the departments FUEL, MISCELLANEOUS and COUPON are out, a row is a purchase. Nothing that
  is computed from the whole year is known (usual price, first sale, home store).
- Two months, November and December 2017, each foreseen from its first moment by a model that is trained on what lies
  before it; the settings are `november`, `december` (to the file's last row) and `both-months`.
- A cold item: one of the catalogue, without any interaction before the month. A category: department and product
  category, the first two steps of the path.
- Judged: each household that buys a cold item in the month. For each category in which it buys one, *all* cold items
  that the catalogue holds in that category are ranked, whether or not anybody buys them that month: nothing says what
  is on the shelf, and what first sells in the month informs nothing.
- Recall at K: of the cold items that the household buys, the share among the first K of their category's list; over all
  its categories, in `both-months` over both months together. Means over households.
- The data's item numbers rise with the time they were given out, so that their order tells what is new. Items are
  renamed by a fixed draw: the order in which equals are listed tells nothing, for nobody. Lists bear the own numbers.
- Advertising is not known here, whatever a recipe says.
- Intervals: paired bootstrap over households.

Baselines. `random`: the expected value of any order that knows nothing. `popular`: nobody bought a cold item, so it is
as popular as its kind: by the rows of the last 28 days with items of the same type, then of the same type and maker,
then of the same maker in the category. `content kNN`: the recipe `content_knn`, likeness of its content to all that the
household bought. The lists that are written bear the setting `MONTH CATEGORY`: a household has one for each category.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from configs.recipe import Recipe, load_recipe
from models.registry import create
from models.splits import time_split
from pipelines.training.published.complete_journey import Data
from pipelines.training.published.journey_tables import Tables, read_tables
from pipelines.training.published.table import (
    LISTS,
    Difference,
    Figure,
    PublishedTable,
    difference,
    distinct_names,
)

K = 10
DEPTHS = (10, 5)
MONTHS = {
    "november": (pd.Timestamp("2017-11-01", tz="UTC"), pd.Timestamp("2017-12-01", tz="UTC")),
    "december": (pd.Timestamp("2017-12-01", tz="UTC"), None),
}
BOTH = "both-months"
RANDOM, POPULAR, CONTENT = "random", "popular", "content kNN"
POPULAR_DAYS = 28
_NAMES_SEED = 0
_LISTED = ["shopper_id", "rank", "item_id"]
TITLE = (
    "cold-items: items without any interaction before the month, all of the catalogue's in their category ranked;\n"
    "{users:,} households, {pairs:,} (household, cold item) pairs of November and December 2017, recall at 10 and 5.\n"
    "Nobody published this table. The package calls the data simulated; it is a one-year window of dunnhumby's release."
)


@dataclass(frozen=True)
class Month:
    """One month to be foreseen.

    Attributes:
        name: its setting.
        known: what is known before it.
        truth: shopper_id, item_id, category of the cold items that are bought in it, distinct.
        cold: item_id, category of all cold items of the catalogue, ordered by item_id.
    """

    name: str
    known: Data
    truth: pd.DataFrame
    cold: pd.DataFrame

    def asked(self) -> Iterator[tuple[str, list[str], list[str]]]:
        """For each category: its name, the households that are judged there, and its cold items."""
        items = {category: rows["item_id"].tolist() for category, rows in self.cold.groupby("category")}
        for category, rows in self.truth.groupby("category"):
            yield str(category), sorted(rows["shopper_id"].unique()), items[category]


def renamed(tables: Tables) -> tuple[Tables, pd.Series]:
    """The same tables with items named by a fixed draw, and the data's own numbers by those names."""
    known = np.union1d(tables.items["item_id"], tables.rows["item_id"].unique())
    order = np.random.default_rng(_NAMES_SEED).permutation(len(known))
    names = pd.Series([f"item-{place:06d}" for place in order], index=known)
    return (
        replace(
            tables,
            rows=tables.rows.assign(item_id=tables.rows["item_id"].map(names)),
            items=tables.items.assign(item_id=tables.items["item_id"].map(names)),
        ),
        pd.Series(names.index, index=names),
    )


def month_of(tables: Tables, name: str, cut: pd.Timestamp, end: pd.Timestamp | None) -> Month:
    """Divide the year at a month: what is known, what is cold, and who buys it; the month ends before `end`."""
    past, window = time_split(tables.rows, cut, end)
    pairs = ["shopper_id", "item_id"]
    history = past[pairs].drop_duplicates()
    catalogue = tables.items.assign(category=category_of(tables.items))[["item_id", "category"]].dropna()
    cold = catalogue[~catalogue["item_id"].isin(history["item_id"])].sort_values("item_id", ignore_index=True)
    truth = window[pairs].drop_duplicates().merge(cold, on="item_id").sort_values(pairs, ignore_index=True)
    known = Data(past, tables.items, tables.shoppers, truth={}, history=history, cut=cut)
    return Month(name, known, truth, cold)


def category_of(items: pd.DataFrame) -> pd.Series:
    """Department and product category: the first two steps of the path."""
    return items["category"].astype("string").str.split("/").str[:2].str.join("/")


def run(
    data: Path | None, recipes: Sequence[Recipe], *, seeds: int, peers: bool, progress: Callable[[str], None]
) -> PublishedTable:
    """Measure the baselines and the recipes on both months.

    Args:
        data: folder of the package's parquet files; None: the installed package.
        recipes: ours.
        seeds: train each recipe with so many seeds, counted from the recipe's own; figures are means.
        peers: changes nothing but a note: what a peer's user could rank a cold item with are the baselines.
        progress: told what is being done.

    Raises:
        UsageError: a recipe cannot be trained here, or two bear the same name.
        FacingsError: there is no data, or a recipe cannot learn from it.
    """
    distinct_names(recipes, [RANDOM, POPULAR, CONTENT])
    progress("cold-items: reading the package's tables")
    tables, numbers = renamed(read_tables(data))
    months = [month_of(tables, name, cut, end) for name, (cut, end) in MONTHS.items()]
    notes = [f"{seeds} seed{'s' * (seeds > 1)} a recipe.", *(_size_note(month) for month in months)]
    if peers:
        notes.append("Peers: none of them ranks what nobody bought, but by its content: that is `content kNN`.")
    runs = {POPULAR: [_join(popular_lists(month) for month in months)]}
    content = load_recipe("content_knn").model_copy(update={"name": CONTENT})
    for recipe, trainings in ((content, 1), *((recipe, seeds) for recipe in recipes)):
        runs[recipe.name] = [
            _join(_recipe_lists(month, recipe, recipe.seed + number, progress, notes) for month in months)
            for number in range(trainings)
        ]
    settings = {**{month.name: [month] for month in months}, BOTH: months}
    frames = {
        name: {setting: _judged(lists, chosen) for setting, chosen in settings.items()} for name, lists in runs.items()
    }
    return PublishedTable(
        name="cold-items",
        title=TITLE.format(users=len(frames[POPULAR][BOTH]), pairs=sum(len(month.truth) for month in months)),
        figures=(*_expected(settings), *_figures(frames)),
        differences=tuple(_differences([recipe.name for recipe in recipes], frames)),
        notes=tuple(notes),
        lists=_written({name: lists[0] for name, lists in runs.items()}, numbers),
    )


def popular_lists(month: Month) -> pd.DataFrame:
    """Cold items by how well their kind sells, one order for everybody; equals in the order of their names."""
    items, past = month.known.items, month.known.past
    recent = past.loc[past["event_time"] >= month.known.cut - pd.Timedelta(days=POPULAR_DAYS), "item_id"]
    sold = recent.value_counts().reindex(items["item_id"], fill_value=0).to_numpy()
    path, maker = items["category"].astype("string"), items["maker_id"].astype("string")
    kinds = {"type": path, "type and maker": path + "|" + maker, "maker": category_of(items) + "|" + maker}
    scores = pd.DataFrame({kind: pd.Series(sold).groupby(group).transform("sum") for kind, group in kinds.items()})
    order = (
        scores.assign(item_id=items["item_id"])
        .fillna(0)
        .sort_values([*kinds, "item_id"], ascending=[False, False, False, True])
    )
    place = pd.Series(np.arange(len(order)), index=order["item_id"])
    found = []
    for category, shoppers, cold in month.asked():
        best = place[cold].sort_values().index[:K]
        rows = [(who, rank, item) for who in shoppers for rank, item in enumerate(best, 1)]
        found.append(pd.DataFrame(rows, columns=_LISTED).assign(category=category))
    return _join(found).assign(month=month.name)


def _recipe_lists(
    month: Month, recipe: Recipe, seed: int, progress: Callable[[str], None], notes: list[str]
) -> pd.DataFrame:
    """Train on what lies before the month, and rank every judged household's categories."""
    progress(f"cold-items: {month.name}, training {recipe.name}, seed {seed}")
    started, used = time.monotonic(), time.process_time()
    blind = recipe.model_copy(update={"data": recipe.data.model_copy(update={"promotions": "none"})})
    model = create(recipe.recommender, recipe.config).fit(month.known.dataset(blind), seed=seed)
    notes.append(
        f"{recipe.name}, {month.name}, seed {seed}: trained in {time.monotonic() - started:.0f} s "
        f"({time.process_time() - used:.0f} s of CPU)."
    )
    found = [
        model.recommend(shoppers, K, candidates=cold, attributes=month.known.shoppers)[_LISTED].assign(
            category=category
        )
        for category, shoppers, cold in month.asked()
    ]
    return _join(found).assign(month=month.name)


def _judged(runs: Sequence[pd.DataFrame], months: Sequence[Month]) -> pd.DataFrame:
    """Recall at each depth of each household over these months, means over the runs; shopper_id and `_metric`s."""
    truth = _join(month.truth.assign(month=month.name) for month in months)
    found = truth[["shopper_id"]].assign(**{_metric(depth): 0.0 for depth in DEPTHS})
    for lists in runs:
        ranks = truth.merge(lists, on=["month", "shopper_id", "item_id"], how="left", validate="one_to_one")["rank"]
        for depth in DEPTHS:
            found[_metric(depth)] += (ranks <= depth).to_numpy(float) / len(runs)
    return found.groupby("shopper_id", as_index=False).mean()


def _expected(settings: Mapping[str, Sequence[Month]]) -> list[Figure]:
    """Recall of an order that knows nothing: of n cold items in a category, K / n are found."""
    figures = []
    for setting, months in settings.items():
        sizes = _join(month.truth.assign(size=month.truth["category"].map(month.cold["category"].value_counts()))
                      for month in months)  # fmt: skip
        for depth in DEPTHS:
            chance = np.minimum(1.0, depth / sizes["size"].to_numpy(float))
            mean = float(pd.Series(chance).groupby(sizes["shopper_id"]).mean().mean())
            figures.append(Figure(recipe=RANDOM, setting=setting, metric=_metric(depth), ours=mean))
    return figures


def _figures(frames: Mapping[str, Mapping[str, pd.DataFrame]]) -> list[Figure]:
    return [
        Figure(recipe=name, setting=setting, metric=_metric(depth), ours=float(frame[_metric(depth)].mean()))
        for name, own in frames.items()
        for setting, frame in own.items()
        for depth in DEPTHS
    ]


def _differences(names: Sequence[str], frames: Mapping[str, Mapping[str, pd.DataFrame]]) -> list[Difference]:
    """Each recipe against both baselines."""
    return [
        difference(
            frame, frames[against][setting], recipe=name, against=against, setting=setting, metric=_metric(depth)
        )
        for name in names
        for setting, frame in frames[name].items()
        for depth in DEPTHS
        for against in (POPULAR, CONTENT)
    ]


def _metric(depth: int) -> str:
    return f"recall@{depth}"


def _size_note(month: Month) -> str:
    return (
        f"{month.name}: {len(month.cold):,} cold items in the catalogue, {month.truth['item_id'].nunique():,} of them "
        f"bought by {month.truth['shopper_id'].nunique():,} households, {len(month.truth):,} pairs."
    )


def _join(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(list(parts), ignore_index=True)


def _written(lists: Mapping[str, pd.DataFrame], numbers: pd.Series) -> pd.DataFrame:
    """All lists in the data's own ids; `numbers` holds the items' by their names here."""
    whole = _join(frame.assign(recipe=name) for name, frame in lists.items())
    return whole.assign(
        setting=whole["month"] + " " + whole["category"],
        user=whole["shopper_id"].str.lstrip("0"),
        item=whole["item_id"].map(numbers).str.lstrip("0"),
    )[LISTS]
