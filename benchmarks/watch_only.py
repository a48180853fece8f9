"""Who watched and never bought: are their lists better than popularity's? On simulated towns and on MovieLens 100K.

    .venv/bin/python benchmarks/watch_only.py town --out benchmarks/results
    .venv/bin/python benchmarks/watch_only.py movielens --data FOLDER --out benchmarks/results

**town**: `facings simulate` writes towns in every variant of its response model; what those who only watch bought in
the four weeks after they began to shop is the truth. Nothing in a town is real.

**movielens**: real ratings, an arranged shop. A random half of the movies are contents (a rating is a watching, from 4
a like, below 3 a bounce), the other half are items (a rating from 4 is a purchase); tags are genres, and no content
names an item. MovieLens users rate in one sitting, so its clock says nothing of watching: a user's ratings go one a
day from their first, in their order. At a cut half of the users who are active on both sides of it only watched: what
they rated of the items before it is not in the data. The truth is what they rate 4 or more in the 28 days after.
Settings were chosen on cuts at .5 and .6 of the users' first days; the cuts reported come later.

Intervals are 95 %, of the paired bootstrap over shoppers; a MovieLens user counts once, with their mean over halves.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.frame import frame, write
from configs.clock import SystemClock
from configs.recipe import load_recipe
from configs.settings import load_settings
from models import metrics
from models.base import Recommender
from models.dataset import Dataset
from models.metrics.bootstrap import paired_difference
from models.ranking import top_k
from models.registry import create
from pipelines.signals.ingest import ingest
from pipelines.signals.lake.lake import Lake
from pipelines.simulation.config import VARIANTS, TownConfig
from pipelines.simulation.history import write_history
from pipelines.training.dataset import training_dataset

K, WINDOW = 10, timedelta(days=28)
OURS, METRICS = "watched_topics", ("ndcg", "recall")
GENRES = (
    "unknown", "action", "adventure", "animation", "children", "comedy", "crime", "documentary", "drama", "fantasy",
    "film-noir", "horror", "musical", "mystery", "romance", "sci-fi", "thriller", "war", "western",
)  # fmt: skip
CUTS = (0.7, 0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="town", choices=("town", "movielens"))
    parser.add_argument("--data", type=Path, help="folder of MovieLens 100K (u.data, u.item)")
    parser.add_argument("--seeds", type=int, default=3, help="towns of each variant, or halves of the movies")
    parser.add_argument("--shoppers", type=int, default=1500, help="of a town")
    parser.add_argument(
        "--cut", type=float, action="append", help="share of the users' first days, instead of those reported"
    )
    parser.add_argument("--out", type=Path, help="folder of dated result files")
    options = parser.parse_args()
    started = time.process_time()
    if options.part == "town":
        settings = {"shoppers": options.shoppers, "stores": 6, "days": 120, "watch_only_days": 92}
        found = {name: together(list(towns(name, options.seeds, settings)), clusters=False) for name in VARIANTS}
    else:
        settings = {"cuts": list(options.cut or CUTS), "window_days": WINDOW.days}
        found = {
            f"cut {cut:g}": together(list(halves(options.data, cut, options.seeds)), clusters=True)
            for cut in settings["cuts"]
        }
    data = " --data FOLDER" if options.data else ""
    result = {
        **frame(
            f"watch_only-{options.part}",
            f".venv/bin/python benchmarks/watch_only.py {options.part}{data} --seeds {options.seeds}",
        ),
        "simulated": options.part == "town",
        "cpu_seconds": round(time.process_time() - started),
        "k": K,
        "seeds": options.seeds,
        "settings": settings,
        "results": found,
    }
    print(json.dumps(result, indent=1))
    write(result, result["benchmark"], options.out)


def towns(
    variant: str, seeds: int, settings: dict[str, int]
) -> Iterator[tuple[dict[str, pd.DataFrame], dict[str, Any]]]:
    """Metrics of every list in each town, and what the slopes were learned from."""
    for seed in range(1, seeds + 1):
        with tempfile.TemporaryDirectory() as place:
            folder, home = Path(place) / "town", load_settings(home=Path(place) / "home")
            write_history(TownConfig(**settings, variant=variant), seed, folder, progress=lambda _: None)
            told = json.loads((folder / "truth.json").read_text())["watch_only"]
            ingest(folder, home.paths, clock=SystemClock(), settings=home, progress=lambda _: None)
            cut = pd.Timestamp(told["until"])
            dataset = training_dataset(home, Lake(home.paths), load_recipe(OURS), cut)
            rows = Lake(home.paths).read("interactions", ["shopper_id", "item_id", "event_type", "event_time"])
        later = rows[
            (rows["event_type"] == "purchase") & (rows["event_time"] >= cut) & (rows["event_time"] < cut + WINDOW)
        ]
        quiet = {row["shopper_id"] for row in told["shoppers"]}
        assert not quiet & set(dataset.interactions["shopper_id"]), "they bought before"
        allowed = set(dataset.item_ids[dataset.recommendable])
        truth = later[later["shopper_id"].isin(quiet) & later["item_id"].isin(allowed)]
        yield measured(dataset, truth)


def halves(folder: Path, cut: float, seeds: int) -> Iterator[tuple[dict[str, pd.DataFrame], dict[str, Any]]]:
    """The same for every half of the movies."""
    ratings = pd.read_csv(folder / "u.data", sep="\t", names=["user", "movie", "rating", "second"])
    ratings = ratings.sort_values(["user", "second", "movie"])
    first = pd.to_datetime(ratings.groupby("user")["second"].transform("min"), unit="s", utc=True)
    ratings["event_time"] = first + pd.to_timedelta(ratings.groupby("user").cumcount(), unit="D")
    table = pd.read_csv(folder / "u.item", sep="|", encoding="latin1", header=None)
    flags = table.iloc[:, 5:24].to_numpy(dtype=bool)
    movies = pd.DataFrame({"id": table[0].astype(str), "title": table[1].str.replace(r"\s*\(\d+\)$", "", regex=True)})
    movies["tags"] = ["|".join(genre for genre, flag in zip(GENRES, row, strict=True) if flag) for row in flags]
    ratings["shopper_id"], ratings["id"] = "u" + ratings["user"].astype(str), ratings["movie"].astype(str)
    moment = ratings.groupby("user")["event_time"].min().quantile(cut)
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        watched = set(movies["id"][random.random(len(movies)) < 0.5])
        before, content = ratings["event_time"] < moment, ratings["id"].isin(watched)
        after = ~before & (ratings["event_time"] < moment + WINDOW)
        both = np.intersect1d(ratings["shopper_id"][before], ratings["shopper_id"][after])
        quiet = set(random.permutation(both)[: len(both) // 2])
        liked = ratings["rating"] >= 4
        views = ratings[before & content & (ratings["rating"] >= 3)].rename(columns={"id": "content_id"})
        views = views.assign(event_type="view", engagement=0.5)
        views = pd.concat([views, views[views["rating"] >= 4].assign(event_type="like", engagement=2.0)])
        bought = ratings[before & ~content & liked & ~ratings["shopper_id"].isin(quiet)].rename(
            columns={"id": "item_id"}
        )
        truth = ratings[after & ~content & liked & ratings["shopper_id"].isin(quiet)].rename(columns={"id": "item_id"})
        contents = movies[movies["id"].isin(views["content_id"])].rename(columns={"id": "content_id"})
        dataset = Dataset.build(
            bought[["shopper_id", "item_id", "event_time"]],
            items=movies[~movies["id"].isin(watched)].rename(columns={"id": "item_id"}),
            as_of=moment,
            watched=views[["shopper_id", "content_id", "event_type", "event_time", "engagement"]],
            contents=contents.assign(item_ids=None),
        )
        yield measured(dataset, truth[truth["shopper_id"].isin(views["shopper_id"])])


def measured(dataset: Dataset, truth: pd.DataFrame) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Metrics of each shopper by list, and the slopes."""
    truth = truth[["shopper_id", "item_id"]].drop_duplicates()
    who = sorted(truth["shopper_id"].unique())
    model: Any = create(OURS, load_recipe(OURS).config).fit(dataset, seed=0)
    print(f"{len(who)} shoppers, {model.choices} choices, {model.slopes}", file=sys.stderr, flush=True)
    lists = {OURS: model.recommend(who, K), **popular_lists(dataset, who)}
    lists |= {"popularity, all time": ranked(create("popularity", {}), dataset, who)}
    found = {
        name: metrics.evaluate(table, truth, k=K, shoppers=who)[["shopper_id", *METRICS]]
        for name, table in lists.items()
    }
    return found, {
        "shoppers": len(who),
        "choices": model.choices,
        "slopes": {k: round(v, 2) for k, v in model.slopes.items()},
    }


def ranked(model: Recommender, dataset: Dataset, who: list[str]) -> pd.DataFrame:
    return model.fit(dataset).recommend(who, K)


def popular_lists(dataset: Dataset, who: list[str]) -> dict[str, pd.DataFrame]:
    """The last four weeks' best sellers: of the chain, the store, and the neighbourhood (sold to its shoppers)."""
    found = {"popularity, chain": ranked(create("popularity", {"window_days": 28}), dataset, who)}
    if "home_store_id" not in dataset.shoppers.columns:
        return found
    home = dataset.shoppers.set_index("shopper_id")["home_store_id"]
    rows = dataset.interactions.assign(
        column=dataset.item_rows,
        recent=(dataset.age_days <= 28).astype(float),
        home=dataset.interactions["shopper_id"].map(home),
    )
    rows = rows[dataset.recommendable[dataset.item_rows]]
    everywhere = np.bincount(rows["column"], minlength=len(dataset.items)) / (len(rows) + 1)
    places: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
        "popularity, store": lambda table: table["store_id"],
        "popularity, neighbourhood": lambda table: table["home"],
    }
    for name, place in places.items():
        counts = rows.assign(place=place(rows)).groupby(["place", "column"])["recent"].sum()
        lines = []
        for shopper in who:
            score = everywhere.copy()
            if home[shopper] in counts.index:
                own = counts[home[shopper]]
                score[own.index.to_numpy()] += own.to_numpy()
            score[~dataset.recommendable] = -np.inf
            columns, _ = top_k(score[None], K)
            lines += [(shopper, rank, dataset.item_ids[column]) for rank, column in enumerate(columns[0], start=1)]
        found[name] = pd.DataFrame(lines, columns=["shopper_id", "rank", "item_id"])
    return found


def together(runs: list[tuple[dict[str, pd.DataFrame], dict[str, Any]]], *, clusters: bool) -> dict[str, Any]:
    """Means over all shoppers of all runs, and ours less each other list with its interval."""
    tables = {name: pd.concat([found[name] for found, _ in runs], ignore_index=True) for name in runs[0][0]}
    if clusters:  # one user is in several runs
        tables = {name: table.groupby("shopper_id", as_index=False).mean() for name, table in tables.items()}
    result: dict[str, Any] = {
        "shoppers": len(tables[OURS]),
        "lists": {
            name: {metric: round(float(table[metric].mean()), 4) for metric in METRICS}
            for name, table in tables.items()
        },
        "ours_better_by": {},
        "runs": [facts for _, facts in runs],
    }
    for name, table in tables.items():
        if name == OURS:
            continue
        gains = {}
        for metric in METRICS:
            gain = paired_difference(tables[OURS][metric].to_numpy(), table[metric].to_numpy(), confidence=0.975)
            gains[metric] = [round(value, 4) for value in (gain.difference, gain.lower, gain.upper)]
        result["ours_better_by"][name] = gains
    return result


if __name__ == "__main__":
    main()
