"""What a challenger must hold besides its metric: each check lays it beside what it would take over from.

Few checks, each for a way in which a model can do harm that a mean over shoppers does not show, or in which the mean
itself can be false. docs/retraining.md says why each is there. Pure: evidence in, checks out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import pandas as pd

from configs.recipe import GateRecipe
from models.metrics.bootstrap import paired_difference
from pipelines.training.cost import Cost
from pipelines.training.gate import Check, Kind
from pipelines.training.portrait import Portrait, drift
from pipelines.training.slices import ITEM_SLICES

_FEW_PLACES = 50  # a share of so few places says nothing


class Evidence(NamedTuple):
    """All that is known of one candidate.

    Attributes:
        frame: metrics, one row a shopper of the test window.
        portrait: what its lists look like.
        cost: what it costs to ask; None: not measured.
    """

    frame: pd.DataFrame
    portrait: Portrait
    cost: Cost | None


class Ground(NamedTuple):
    """What holds for all candidates of a run.

    Attributes:
        cut: up to when a candidate may know, UTC.
        newest: the newest purchase before it.
        sales: purchases before it by maker; empty where makers are not known.
        rules: bounds.
    """

    cut: datetime
    newest: datetime
    sales: pd.Series
    rules: GateRecipe


def run_checks(
    kind: Kind, ours: Evidence, theirs: Evidence, others: Mapping[str, Evidence], ground: Ground
) -> list[Check]:
    """Check one challenger.

    Args:
        kind: the rule by which it is judged.
        ours: the challenger's.
        theirs: of what it would take over from.
        others: of all that was measured on the same shoppers, by label; what is best among them tells what can be
            foreseen at all.
        ground: the run's.
    """
    own, old, bounds = ours.portrait, theirs.portrait, ground.rules.checks
    found = [_sound(own), _known(own, ground), _learned(own, old, ground)]
    found += [check(ours, theirs, ground) for check in (_served, _full, _range, _persons, _scores)]
    found += [_places(name, what, own, old, bounds.exposure_margin) for name, what in ITEM_SLICES.items()]
    found += [_makers(own, old, ground), _stock(own, old, bounds.stock_margin), _foresight(ours, others, ground)]
    found += [_whole(own, others, bounds.foreseen), *_costs(ours.cost, theirs.cost, ground)]
    if kind is Kind.REFRESH:
        found.append(_drift(own, old, bounds.drift))
    return found


# ---------------------------------------------------------------------- the lists themselves


def _sound(own: Portrait) -> Check:
    """A list holds distinct items that may be shown, in order, with scores that are numbers; and nothing blocked."""
    if own.broken is not None:
        return Check.no("sound", f"it cannot be asked for lists: {own.broken}")
    if own.faults:
        told = ", ".join(f"{count} × {what}" for what, count in own.faults.items())
        return Check.no("sound", f"{told} in {own.places} places; none is tolerated")
    return Check.yes("sound", f"{own.places} places hold distinct items that may be shown, in order, none blocked")


def _served(ours: Evidence, theirs: Evidence, ground: Ground) -> Check:
    margin = ground.rules.checks.served_margin
    own, old = ours.portrait, theirs.portrait
    lost = [
        f"{name} {share:.1%} against {old.served[name]:.1%}"
        for name, share in own.served.items()
        if name in old.served and share < old.served[name] - margin - 1e-12
    ]
    if lost:
        return Check.no("reach", f"fewer shoppers get a list: {', '.join(lost)}; at most {margin:.0%} less")
    told = ", ".join(f"{name} {share:.1%} of {own.asked[name]}" for name, share in own.served.items())
    return Check.yes("reach", f"shoppers who get a list: {told}")


def _full(ours: Evidence, theirs: Evidence, ground: Ground) -> Check:
    margin = ground.rules.checks.full_margin
    own, old = ours.portrait.full, theirs.portrait.full
    sentence = f"{own:.1%} of the lists are full, against {old:.1%}; at most {margin:.0%} less"
    return Check.of("length", own >= old - margin, sentence)


def _scores(ours: Evidence, theirs: Evidence, ground: Ground) -> Check:
    """Scores that are all alike order nothing: the lists' order would be an accident of the ids."""
    del theirs
    own, most = ours.portrait.flat, ground.rules.checks.flat
    return Check.of("scores", own <= most, f"all scores alike in {own:.1%} of the lists; at most {most:.0%}")


# ---------------------------------------------------------------------- exposure


def _range(ours: Evidence, theirs: Evidence, ground: Ground) -> Check:
    """Effective catalogue: a range shrunk to a part of itself leaves most makers without a place."""
    margin = ground.rules.checks.exposure_margin
    own, old = ours.portrait.effective, theirs.portrait.effective
    sentence = (
        f"places are spread as over {own:.1f} items shown alike, against {old:.1f}; at most {margin:.0%} of it may go"
    )
    return Check.of("range", own >= (1 - margin) * old, sentence)


def _persons(ours: Evidence, theirs: Evidence, ground: Ground) -> Check:
    """Popularity in disguise: lists that differ little between shoppers, made of best-sellers."""
    margin = ground.rules.checks.exposure_margin
    own, old = ours.portrait, theirs.portrait
    sentence = (
        f"two shoppers' lists differ in {own.distance:.1%} of their places, against {old.distance:.1%}, and "
        f"best-sellers hold {own.head:.1%} of them, against {old.head:.1%}; at most {margin:.0%} of the difference "
        "may go"
    )
    return Check.of("personal", own.distance >= (1 - margin) * old.distance, sentence)


def _places(name: str, what: str, own: Portrait, old: Portrait, margin: float) -> Check:
    label = f"places of {name.removeprefix('item_').replace('_', ' ')}"
    if name not in own.item_slices or name not in old.item_slices:
        return Check.unjudged(label, f"the data tells no {what}")
    share, before = own.item_slices[name], old.item_slices[name]
    sentence = f"{share:.1%} of the places, against {before:.1%}, go to {what}; at most {margin:.0%} of it may go"
    if before * old.places < _FEW_PLACES:
        return Check.unjudged(label, f"{sentence}; fewer than {_FEW_PLACES} places before, not judged")
    return Check.of(label, share >= (1 - margin) * before, sentence)


def _makers(own: Portrait, old: Portrait, ground: Ground) -> Check:
    """A maker's share of the places may follow what it sells (exposure by merit, Singh and Joachims, KDD 2018)."""
    if not own.makers:
        return Check.unjudged("makers", "no maker is known")
    merit = ground.sales / max(1.0, float(ground.sales.sum()))
    rises = {
        maker: share - max(old.makers.get(maker, 0.0), float(merit.get(maker, 0.0)))
        for maker, share in own.makers.items()
    }
    maker = max(rises, key=lambda one: rises[one])
    most = ground.rules.checks.maker_rise
    sentence = (
        f"maker {maker} has {own.makers[maker]:.1%} of the places, had {old.makers.get(maker, 0.0):.1%} and makes "
        f"{float(merit.get(maker, 0.0)):.1%} of the sales; no maker may rise by more than {most:.0%} above both"
    )
    return Check.of("makers", rises[maker] <= most, sentence)


def _stock(own: Portrait, old: Portrait, margin: float) -> Check:
    """What is not in stock is never shown; lists full of it leave the slate to best-sellers."""
    if own.in_stock is None or old.in_stock is None:
        return Check.unjudged("stock", "no stock is known")
    sentence = (
        f"{own.in_stock:.1%} of the places are in stock in the shopper's store, against {old.in_stock:.1%}; "
        f"at most {margin:.0%} less"
    )
    return Check.of("stock", own.in_stock >= old.in_stock - margin, sentence)


# ---------------------------------------------------------------------- knowledge: neither too much nor too old


def _known(own: Portrait, ground: Ground) -> Check:
    """It says itself up to when it knows: later is a leak, earlier is an old model."""
    if own.as_of is None:
        return Check.no("knowledge", "the model does not say up to when it knows")
    sentence = f"it knows everything before {own.as_of:%Y-%m-%d %H:%M} UTC, the cut is {ground.cut:%Y-%m-%d %H:%M}"
    return Check.of("knowledge", own.as_of == ground.cut, sentence)


def _learned(own: Portrait, old: Portrait, ground: Ground) -> Check:
    """What it learned from must be as new as the data, and its features as well known as they were."""
    if own.learned is None:
        return Check.unjudged("freshness", "nothing was written down of what it learned from")
    bounds = ground.rules.checks
    behind = ground.newest - own.learned.newest
    sentence = f"the newest of {own.learned.signals} signals is of {own.learned.newest:%Y-%m-%d %H:%M} UTC"
    if behind > timedelta(days=bounds.stale_days):
        days = behind / timedelta(days=1)
        return Check.no("freshness", f"{sentence}, {days:.1f} days behind the data; at most {bounds.stale_days:g}")
    before = {} if old.learned is None else old.learned.features
    lost = [
        f"{name} of {share:.1%} against {before[name]:.1%}"
        for name, share in own.learned.features.items()
        if name in before and share < before[name] - bounds.known_margin
    ]
    empty = [name for name, share in own.learned.features.items() if share == 0]
    if lost or empty:
        told = ", ".join([*lost, *(f"{name} of nobody" for name in empty if name not in before)])
        return Check.no("freshness", f"features of recent shoppers are not known: {told or ', '.join(empty)}")
    return Check.yes("freshness", sentence)


def _foresight(ours: Evidence, others: Mapping[str, Evidence], ground: Ground) -> Check:
    """Too good to be true: no model made of the past closes a third of the gap to perfection in one step.

    Looked at on the whole and, apart, on repeats and on discoveries, so that a leak cannot hide behind the other part.
    The bound must be passed with confidence: a handful of shoppers may be lucky.
    """
    rules, most = ground.rules, ground.rules.checks.closed_gap
    told, leaks = [], []
    for column in (rules.metric, "repeat_ndcg", "new_ndcg"):
        rivals = {name: one.frame for name, one in others.items() if column in one.frame.columns}
        if column not in ours.frame.columns or not rivals:
            continue
        best = max(rivals, key=lambda name: (float(rivals[name][column].mean()), name))
        pair = pd.DataFrame(
            {
                "ours": ours.frame.set_index("shopper_id")[column],
                "best": rivals[best].set_index("shopper_id")[column],
            }
        ).dropna()
        if len(pair) < rules.minimum_shoppers:
            continue
        allowed = pair["best"] + most * (1 - pair["best"])
        bound = paired_difference(
            pair["ours"].to_numpy(), allowed.to_numpy(), confidence=rules.confidence, resamples=rules.resamples
        )
        now, then = float(pair["ours"].mean()), float(pair["best"].mean())
        closed = (now - then) / max(1e-9, 1 - then)
        told.append(f"{column} {now:.3f} against at best {then:.3f} ({best}): {closed:.0%}")
        if bound.lower > 0:
            leaks.append(column)
    if not told:
        return Check.unjudged("foresight", f"fewer than {rules.minimum_shoppers} shoppers to tell by")
    sentence = f"of the gap to perfect foresight it closes: {'; '.join(told)}; at most {most:.0%}"
    if leaks:
        sentence += ": too good to be true; look for what it knows of the test window before promoting it by hand"
    return Check.of("foresight", not leaks, sentence)


def _whole(own: Portrait, others: Mapping[str, Evidence], most: float) -> Check:
    """A leak for a few shoppers hides in the mean; a list that names all of three discoveries and more does not."""
    if not own.could_be_foreseen:
        return Check.unjudged("foreseen whole", "nobody bought three new items in the window")
    best = max((other.portrait.foreseen for other in others.values()), default=0.0)
    sentence = (
        f"of {own.foreseen:.1%} of the {own.could_be_foreseen} shoppers with three discoveries and more it names all "
        f"that fit, others at best of {best:.1%}; at most {most:.0%} more"
    )
    return Check.of("foreseen whole", own.foreseen <= best + most, sentence)


def _drift(own: Portrait, old: Portrait, most: float) -> Check:
    """The same recipe on newer data scores much as before; a shift says that what it reads has changed its meaning."""
    if not own.scores or not old.scores:
        return Check.unjudged("drift", "there are no scores to compare")
    index = drift(old.scores, own.scores)
    return Check.of("drift", index <= most, f"scores have moved by {index:.2f} of their spread; at most {most:g}")


# ---------------------------------------------------------------------- cost


def _costs(own: Cost | None, old: Cost | None, ground: Ground) -> list[Check]:
    """In ratios of times measured in turn on one machine; a model that is cheap anyway may be many times slower."""
    if own is None or old is None:
        return [Check.unjudged("cost", "not measured")]
    bounds = ground.rules.checks
    parts: list[tuple[str, Callable[[Cost], float | None]]] = [
        ("a list in a batch", lambda cost: cost.batch),
        ("a list from newest events", lambda cost: cost.fold_in),
        ("loading, a thousandth of it", lambda cost: None if cost.load is None else cost.load / 1000),
    ]
    found = []
    for what, seconds in parts:
        now, then = seconds(own), seconds(old)
        if now is None:
            continue
        units = now / own.yardstick
        before = None if then is None else then / old.yardstick
        limit = max(bounds.cost, bounds.slower * (before or 0.0))
        against = "" if before is None else f", against {before:.2f}"
        sentence = (
            f"{what} costs {units:.2f} plain scorings of the catalogue{against}; at most {bounds.slower:g} times that, "
            f"or {bounds.cost:g}"
        )
        found.append(Check.of("cost", units <= limit, sentence))
    return found
