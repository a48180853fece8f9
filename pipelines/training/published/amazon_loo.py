"""`amazon-loo`: one shop's sequences, the last item of each user left out (the S3-Rec files of Amazon Beauty).

The protocol:

- Data: a folder with a pair of files. `NAME.txt` holds one user a line: the user's id, then the ids of their items in
  order of time. `NAME_item2attributes.json` holds a list of attributes for each item. Any shop in this format will do;
  published figures are compared with only where the counts are those of Amazon Beauty.
- The last item of a user is test, the one before it validation; everything before the test item is known. A user with
  fewer than three items is learned from and not judged.
- All items of the sequences are ranked but those in the user's history. HR@10 is the share of users whose test item is
  in their list of ten; NDCG@10 is 1 / log2(1 + rank) of it, 0 when it is not there; means over users.
- Settings are chosen on the validation item, by what comes before it (`held_out` 2 below), never on the test item.

The files tell no times. Synthetic ones keep the order: events of a user lie one minute apart, the last one a minute
before the moment of training, so that no age tells more than the order does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from configs.errors import FacingsError, UsageError
from configs.recipe import Recipe
from models import metrics
from models.dataset import Dataset
from models.registry import create
from pipelines.training.published.peers import NAMES as PEER_NAMES
from pipelines.training.published.peers import implicit_lists, rectools_lists
from pipelines.training.published.table import (
    LISTS,
    Difference,
    Figure,
    PublishedTable,
    difference,
    distinct_names,
)

K = 10
SETTING = "default"
NAME = "amazon-loo"
_SUFFIX = "_item2attributes.json"
_AS_OF = pd.Timestamp("2000-01-01", tz="UTC")  # any moment: the files tell no times
_POPULAR = "popular"
_PLAIN = Recipe(name="lightfm-plain", recommender="lightfm", config={"components": 64, "epochs": 10})
# Amazon Beauty is recognised by its counts of users, items and actions.
_BEAUTY = (22_363, 12_101, 198_502)
_BEAUTY_POPULAR = {"hr": 0.0135, "ndcg": 0.0061}
_BEAUTY_NOTE = (
    "Published for Amazon Beauty, HR@10 / NDCG@10: SASRec .0605/.0318, S3-Rec .0647/.0327, TIGER .0648/.0384, "
    "ActionPiece .0775/.0424, HSTU .0788/.0439, SASRec with sampled softmax .0921/.0531, eSASRec .0928/.0523; "
    "PopRec .0152/.0068, where this count gives .0135/.0061."
)


@dataclass(frozen=True)
class Data:
    """One shop's sequences; ids as the files give them.

    Attributes:
        name: of the pair of files.
        sequences: items of each user, oldest first, by user.
        attributes: of each item, by item.
    """

    name: str
    sequences: dict[str, list[str]]
    attributes: dict[str, list[str]]

    @property
    def items(self) -> list[str]:
        """All items of the sequences, numbers in the order of numbers."""
        distinct = {item for items in self.sequences.values() for item in items}
        return sorted(distinct, key=lambda item: (not item.isdecimal(), len(item) if item.isdecimal() else 0, item))

    @property
    def counts(self) -> tuple[int, int, int]:
        """Users, items, actions."""
        return len(self.sequences), len(self.items), sum(map(len, self.sequences.values()))

    def known(self, held_out: int = 1) -> pd.DataFrame:
        """shopper_id, item_id, event_time of all but the last `held_out` items of each judged user."""
        rows = [
            (user, item, back)
            for user, items in self.sequences.items()
            for kept in [items[: -held_out if len(items) > 2 else None]]
            for back, item in zip(range(len(kept), 0, -1), kept, strict=True)
        ]
        table = pd.DataFrame(rows, columns=["shopper_id", "item_id", "back"])
        return table.assign(event_time=_AS_OF - pd.to_timedelta(table["back"], unit="min")).drop(columns="back")

    def truth(self, held_out: int = 1) -> pd.DataFrame:
        """shopper_id, item_id: the first item of each judged user that is not known."""
        rows = [(user, items[-held_out]) for user, items in self.sequences.items() if len(items) > 2]
        return pd.DataFrame(rows, columns=["shopper_id", "item_id"])

    def dataset(self, recipe: Recipe, held_out: int = 1) -> Dataset:
        """What a recipe is trained on; of an item its `tags` are known, of a user nothing."""
        tags = ["|".join(self.attributes.get(item, ())) or None for item in self.items]
        return Dataset.build(
            self.known(held_out),
            items=pd.DataFrame({"item_id": self.items, "tags": pd.Series(tags, dtype=object)}),
            as_of=_AS_OF,
            item_content=recipe.data.item_content,
            shopper_attributes=(*recipe.data.shopper_attributes, *recipe.data.shopper_features),
        )


def read_data(data: Path | None) -> Data:
    """Read the pair of files in a folder.

    Raises:
        UsageError: no folder was named.
        FacingsError: the folder does not hold exactly one pair, or a file is not in the format.
    """
    if data is None:
        raise UsageError(f"{NAME} needs a folder with NAME.txt and NAME{_SUFFIX}: name it with --data.")
    if not data.is_dir():
        raise FacingsError(f"{data} is no folder; {NAME} reads NAME.txt and NAME{_SUFFIX} from one.")
    names = sorted(
        path.name.removesuffix(_SUFFIX)
        for path in data.glob(f"*{_SUFFIX}")
        if (data / f"{path.name.removesuffix(_SUFFIX)}.txt").is_file()
    )
    if len(names) != 1:
        found = f"holds {len(names)} pairs ({', '.join(names)})" if names else "holds no pair"
        raise FacingsError(f"{data} {found} of NAME.txt and NAME{_SUFFIX}; {NAME} reads one.")
    sequences = _sequences(data / f"{names[0]}.txt")
    return Data(names[0], sequences, _attributes(data / f"{names[0]}{_SUFFIX}"))


def run(
    data: Path | None, recipes: Sequence[Recipe], *, seeds: int, peers: bool, progress: Callable[[str], None]
) -> PublishedTable:
    """Count the baseline and measure the recipes beside it.

    Args:
        data: folder of the files.
        recipes: ours.
        seeds: train each recipe with so many seeds, counted from the recipe's own; figures are means.
        peers: measure also what a peer's user would use instead.
        progress: told what is being done.

    Raises:
        UsageError: no folder was named, or two recipes bear the same name.
        FacingsError: the files are not there or not in the format, or a recipe cannot learn from them.
    """
    distinct_names(recipes, [_POPULAR, *PEER_NAMES, _PLAIN.name])
    source = read_data(data)
    published: dict[str, float] = _BEAUTY_POPULAR if source.counts == _BEAUTY else {}
    baseline, lists = measure(source, Recipe(name=_POPULAR, recommender="popularity"))
    figures, found = _figures(_POPULAR, baseline, published), [lists]
    differences: list[Difference] = []
    for recipe in recipes:
        frames = []
        for seed in range(recipe.seed, recipe.seed + seeds):
            progress(f"{NAME}: training {recipe.name}, seed {seed}")
            frame, lists = measure(source, recipe.model_copy(update={"seed": seed}))
            frames.append(frame)
            found += [lists] if seed == recipe.seed else []
        mean = frames[0].assign(**{column: sum(frame[column] for frame in frames) / seeds for column in ("hr", "ndcg")})
        figures += _figures(recipe.name, mean, {})
        differences += [_difference(recipe.name, mean, baseline, metric) for metric in ("hr", "ndcg")]
    notes = [f"{seeds} seed{'s' * (seeds > 1)} a recipe."] + ([_BEAUTY_NOTE] if published else [])
    if peers:
        for name, table in _peers(source, list(baseline["shopper_id"]), notes, progress).items():
            judged = _judge(table, source.truth())
            figures += _figures(name, judged, {})
            differences += [_difference(name, judged, baseline, metric) for metric in ("hr", "ndcg")]
            found.append(table.assign(recipe=name))
    users, items, actions = source.counts
    return PublishedTable(
        name=NAME,
        title=f"{NAME}: {source.name}, each user's last item; {users:,} users, {items:,} items, {actions:,} actions; "
        f"all unseen items ranked, metrics at {K}",
        figures=tuple(figures),
        differences=tuple(differences),
        notes=tuple(notes),
        lists=_own_ids(found),
    )


def _peers(
    source: Data, users: Sequence[str], notes: list[str], progress: Callable[[str], None]
) -> dict[str, pd.DataFrame]:
    """Lists of unseen items by peer; what is and what is not measured joins the notes."""
    progress(f"{NAME}: peers")
    known = source.known()
    found, told = implicit_lists(known, users, K)
    others, told_too = rectools_lists(known, users, K)
    _, plain = measure(source, _PLAIN)
    notes += [*told, *told_too, "Peer lightfm-plain: LightFM on identities alone."]
    return {**{name: lists.new for name, lists in found.items()}, **others, _PLAIN.name: plain}


def measure(source: Data, recipe: Recipe, held_out: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train a recipe with its seed and judge it on the first held-out item (`held_out` 2: the validation item).

    Returns:
        shopper_id, hr, ndcg of each judged user, and the lists: recipe, shopper_id, rank, item_id.
    """
    model = create(recipe.recommender, recipe.config).fit(source.dataset(recipe, held_out), seed=recipe.seed)
    truth = source.truth(held_out)
    lists = model.recommend(truth["shopper_id"].tolist(), K, new_only=True)
    return _judge(lists, truth), lists[["shopper_id", "rank", "item_id"]].assign(recipe=recipe.name)


def _judge(lists: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """HR and NDCG of each user of the truth, in its order: with one item to be found, HR is recall."""
    frame = metrics.evaluate(lists, truth, k=K, shoppers=truth["shopper_id"].tolist())
    return frame.rename(columns={"recall": "hr"})[["shopper_id", "hr", "ndcg"]]


def _figures(name: str, frame: pd.DataFrame, published: dict[str, float]) -> list[Figure]:
    return [
        Figure(recipe=name, setting=SETTING, metric=metric, ours=frame[metric].mean(), reference=published.get(metric))
        for metric in ("hr", "ndcg")
    ]


def _difference(name: str, ours: pd.DataFrame, theirs: pd.DataFrame, metric: str) -> Difference:
    return difference(ours, theirs, recipe=name, against=_POPULAR, setting=SETTING, metric=metric)


def _own_ids(lists: Sequence[pd.DataFrame]) -> pd.DataFrame:
    whole = pd.concat(lists, ignore_index=True)
    return whole.assign(setting=SETTING, user=whole["shopper_id"], item=whole["item_id"])[LISTS]


def _sequences(path: Path) -> dict[str, list[str]]:
    """Items by user; blank lines are nothing."""
    sequences: dict[str, list[str]] = {}
    for number, words in enumerate(map(str.split, _text(path).splitlines()), start=1):
        if not words:
            continue
        user, *items = words
        if not items:
            raise FacingsError(f"{path}, line {number}: user {user} has no item; a line is a user and their items.")
        if user in sequences:
            raise FacingsError(f"{path}, line {number}: user {user} has a line already; a user has one line.")
        sequences[user] = items
    if not any(len(items) > 2 for items in sequences.values()):
        raise FacingsError(f"{path} holds no user with three items; there is nobody to judge by.")
    return sequences


def _attributes(path: Path) -> dict[str, list[str]]:
    try:
        content: Any = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise FacingsError(f"{path} is no JSON: {error}; it must map items to lists of attributes.") from None
    if not isinstance(content, dict) or not all(isinstance(values, list) for values in content.values()):
        raise FacingsError(f'{path} must map each item to a list of attributes, as in {{"4": [1, 2, 3]}}.')
    return {item: [str(value) for value in values] for item, values in content.items()}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise FacingsError(f"{path} cannot be read: {' '.join(str(error).split())}.") from None
