"""The odds that a value model tells at its moment, written for all shoppers and places.

Once when it was trained, and again on each day on which it is not: the weights stay, while what is due, what was bought
and seen, and what goods cost is that of the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from configs.errors import FacingsError
from configs.settings import Settings
from models.base import Recommender
from pipelines.offers.value.data import ValueData, read_value_data
from pipelines.offers.value.kept import COLUMNS, FACTS, ODDS, PLACES, ValueFacts
from pipelines.offers.value.model import ValueModel
from pipelines.offers.value.odds import chance, gain
from pipelines.offers.value.parameters import FOLDER, kept_model
from pipelines.shop_snapshot import CHAIN
from pipelines.signals.behaviour.counted import counted
from pipelines.signals.lake.lake import Lake

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_WHOLE = 2_000
"""Up to so many goods, every one of them is weighed for every shopper; of more, the likeliest."""
_LIKELIEST = 400
_CELLS = 150_000
_AVERAGED = 240_000
"""Pairs of shoppers and goods of which an average is made."""
_STEP = 0.2  # the discount at which an average's slope is taken
_SUMS = 7
_BATCH = 512
_LATELY = 56 * 86_400  # seconds


def what_is_known(settings: Settings, lake: Lake, moment: datetime) -> ValueData | None:
    """What a value model is told at a moment; None: nothing was ever shown or bought.

    Args:
        settings: names what counts as a purchase.
        lake: the shop's data.
        moment: nothing from here on is read.
    """

    def counts(rows: pl.DataFrame) -> pl.DataFrame:
        kept = counted(settings, lake, rows.to_pandas(), pd.Timestamp(moment))
        texts = {name: kind for name, kind in rows.schema.items() if name in kept.columns}
        return pl.from_pandas(kept, schema_overrides=texts)

    return read_value_data(lake, moment, counts=counts)


def score_anew(
    folder: Path,
    kept: Path,
    settings: Settings,
    lake: Lake,
    model: Recommender,
    *,
    moment: datetime,
    progress: Callable[[str], None],
) -> ValueFacts:
    """Write the odds of a value model that was trained before, as it tells them at another moment.

    Args:
        folder: an empty one, gets odds and facts.
        kept: where training kept the model (`keep_model`) and its facts.
        settings: names what counts as a purchase.
        lake: the shop's data.
        model: the recommender beside which it serves.
        moment: nothing from here on is read.
        progress: told how far it is.

    Raises:
        FacingsError: the kept model cannot be read, or nothing is known that it could be told.
    """
    facts = ValueFacts.model_validate_json((kept / FACTS).read_text()).model_copy(update={"moment": moment})
    data = what_is_known(settings, lake, moment)
    if data is None:
        raise FacingsError("Nothing that was shown or bought is known any more; ingest the shop's data again.")
    progress(f"odds of {len(model.shopper_ids):,} shoppers, by {len(data.purchases):,} purchases up to {moment}")
    write_scored(folder, lake, kept_model(kept / FOLDER, data), model, facts.candidates)
    (folder / FACTS).write_text(facts.model_dump_json(indent=1))
    return facts


def write_scored(folder: Path, lake: Lake, value: ValueModel, model: Recommender, candidates: int) -> None:
    """Write the odds of each shopper's candidates, and those of an average shopper of each place."""
    _write_odds(folder / ODDS, value, model, _depths(lake, value.data), candidates)
    _write_places(folder / PLACES, value)


def _depths(lake: Lake, data: ValueData) -> Floats:
    """The deepest discount that is offered of each item from the moment on; 0: none."""
    offers = lake.scan("offers").filter(
        pl.col("ends").is_null() | (pl.col("ends").dt.epoch("s") > data.moment), pl.col("discount") < 1
    )
    frame = offers.group_by("item_id").agg(pl.col("discount").max()).drop_nulls().collect()
    found = pd.Series(frame["discount"].to_numpy(), index=frame["item_id"].to_numpy()).reindex(data.item_ids)
    return np.asarray(np.nan_to_num(found.to_numpy(np.float64)))


def _write_odds(path: Path, value: ValueModel, model: Recommender, depths: Floats, candidates: int) -> None:
    """For each shopper the odds of the recommender's first half and of what is most worth showing besides."""
    data = value.data
    allowed = np.zeros(len(data.item_ids), bool)
    at = data.item_ids.get_indexer(model.item_ids)
    allowed[at[(at >= 0) & model.recommendable]] = True
    allowed &= np.isfinite(data.price) & np.isfinite(data.cost) & (data.launched <= data.moment)
    goods = np.flatnonzero(allowed)
    shoppers = [shopper for shopper in model.shopper_ids if shopper in data.shopper_ids]
    schema = pa.schema(
        [("shopper_id", pa.string()), ("item_id", pa.string()), *((name, pa.float32()) for name in COLUMNS)]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(shoppers), _BATCH):
            batch = shoppers[start : start + _BATCH]
            frame = _best(value, model, batch, goods, depths, candidates)
            writer.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False))


def _best(
    value: ValueModel, model: Recommender, shoppers: list[str], goods: Ints, depths: Floats, candidates: int
) -> pd.DataFrame:
    data = value.data
    half = candidates - candidates // 2
    lists = model.recommend(shoppers, half)
    who = pd.Index(shoppers)
    row, item = who.get_indexer(pd.Index(lists["shopper_id"])), data.item_ids.get_indexer(pd.Index(lists["item_id"]))
    known = (item >= 0) & np.isin(item, goods)
    listed = np.unique(row[known] * len(data.item_ids) + item[known])
    codes = data.shopper_ids.get_indexer(who).astype(np.int64)
    parts = []
    for rows, items in _pairs(value, codes, goods, listed):
        odds = value.odds(codes[rows], items)
        best = np.fmax(
            gain(odds, data.price[items], data.cost[items]),
            gain(odds, data.price[items], data.cost[items], depths[items]),
        )
        first = np.isin(rows * len(data.item_ids) + items, listed)
        order = np.lexsort((-np.nan_to_num(best, nan=-np.inf), ~first, rows))
        rank = _within(rows[order])
        kept = order[rank < candidates]
        parts.append((rows[kept], items[kept], odds[kept], best[kept]))
    rows, items, odds, best = (np.concatenate([part[column] for part in parts]) for column in range(4))
    order = np.lexsort((items, -np.nan_to_num(best, nan=-np.inf), rows))
    frame = pd.DataFrame(odds[order].astype(np.float32), columns=list(COLUMNS))
    frame.insert(0, "item_id", data.item_ids.to_numpy()[items[order]])
    frame.insert(0, "shopper_id", who.to_numpy()[rows[order]])
    return frame


def _pairs(value: ValueModel, shopper: Ints, goods: Ints, listed: Ints) -> Iterator[tuple[Ints, Ints]]:
    """(row, item) pairs to weigh, some shoppers at a time: all goods, or the likeliest and the recommender's."""
    width = len(goods) if len(goods) <= _WHOLE else _LIKELIEST
    step = max(1, _CELLS // max(1, width))
    count = len(value.data.item_ids)
    for start in range(0, len(shopper), step):
        some = np.arange(start, min(start + step, len(shopper)))
        if len(goods) <= _WHOLE:
            yield np.repeat(some, len(goods)), np.tile(goods, len(some))
            continue
        near = value.known.likely(shopper[some], goods, value.taste, width)
        pairs = np.concatenate([np.repeat(some, width) * count + near.ravel(), _between(listed, some, count)])
        pairs = np.unique(pairs)
        yield pairs // count, pairs % count


def _between(listed: Ints, rows: Ints, count: int) -> Ints:
    low, high = np.searchsorted(listed, [rows[0] * count, (rows[-1] + 1) * count])
    return listed[low:high]


def _within(rows: Ints) -> Ints:
    """Place (from 0) of each row within its run of equal values."""
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]]) if len(rows) else np.zeros(0, np.int64)
    return np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))


def _write_places(path: Path, value: ValueModel) -> None:
    """The odds of an average shopper of each neighbourhood, store and the chain, of the goods that sell there most."""
    data, known = value.data, value.known
    rng = np.random.default_rng(0)
    goods = np.flatnonzero(np.isfinite(data.price) & np.isfinite(data.cost) & (data.launched <= data.moment))
    bought = data.purchases.item[data.purchases.time >= data.moment - _LATELY]
    sales = np.bincount(bought, minlength=len(data.item_ids))
    goods = goods[np.argsort(-sales[goods], kind="stable")][:_LIKELIEST]
    active = np.unique(data.visits.shopper)
    sums = {
        place: _summed(value, active[known.home[active] == place], goods, rng)
        for place in np.unique(known.home[active]).tolist()
    }
    frames = [_frame(CHAIN, data, goods, _averaged(sum(sums.values(), np.zeros((_SUMS, len(goods))))))]
    for store in range(len(data.store_ids)):
        here = np.flatnonzero(data.usual_store == store)
        told = sums.get(int(known.home[here[0]])) if len(here) else None
        if told is not None:
            odds = _averaged(told)
            frames += [_frame(f"{level}:{data.store_ids[store]}", data, goods, odds) for level in ("home", "store")]
    pl.concat(frames).write_parquet(path)


def _summed(value: ValueModel, people: Ints, goods: Ints, rng: np.random.Generator) -> Floats:
    """What an average over these people is made of, shape (_SUMS, goods): sums of places make up the chain's.

    Who comes often stands there often. Of many people some are asked, and stand for all.
    """
    most = max(1, _AVERAGED // max(1, len(goods)))
    some = people if len(people) <= most else np.sort(rng.choice(people, most, replace=False))
    odds = value.odds(np.repeat(some, len(goods)), np.tile(goods, len(some)))
    visits = value.data.visits
    lately = visits.shopper[visits.start >= value.data.moment - _LATELY]
    came = np.bincount(lately, minlength=len(value.data.shopper_ids))[some] + 1.0  # anybody may come again
    before, shown = (1.0 / (1.0 + np.exp(-odds[:, place])) for place in range(2))
    told = (before, chance(odds), chance(odds, _STEP), shown - before, (shown - before) * odds[:, 3], odds[:, 4])
    weights = came * (len(people) / len(some))
    sums = [weights @ each.reshape(len(some), len(goods)) for each in told]
    return np.stack([*sums, np.full(len(goods), weights.sum())])


def _averaged(sums: Floats) -> Floats:
    """Odds under which the mean chances of people are those of one, shape (goods, 5)."""
    before, after, cut, added, kept, lift = sums[:-1] / np.maximum(sums[-1], 1e-9)
    before, after, cut = (_log_odds(np.clip(each, 1e-6, 1 - 1e-6)) for each in (before, after, cut))
    slope = (cut - after) / -np.log1p(-_STEP)
    keeps = kept / np.where(np.abs(added) > 1e-9, added, 1.0)
    return np.stack([before, after, np.maximum(slope, 0.0), np.clip(keeps, -1.0, 1.0), lift], axis=1)


def _log_odds(share: Floats) -> Floats:
    return np.asarray(np.log(share / (1.0 - share)))


def _frame(level: str, data: ValueData, goods: Ints, odds: Floats) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "level": [level] * len(goods),
            "item_id": data.item_ids.to_numpy()[goods],
            **{name: odds[:, place].astype(np.float32) for place, name in enumerate(COLUMNS)},
        }
    )
