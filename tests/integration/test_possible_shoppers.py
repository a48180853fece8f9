"""Several people may stand there: the slate is for all of them, replays from its record, and can be forgotten."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.clock import FixedClock
from pipelines.offers.decide import Ask, decide
from pipelines.offers.log.decision_log import DecisionLog
from pipelines.offers.log.record import Asked
from pipelines.offers.log.replay import find_record, replay
from pipelines.offers.log.slots import slots
from pipelines.offers.view import View, open_view
from pipelines.packed import Ranked
from state.decisions import erase_decisions, new_id, open_decisions, read_decision
from state.forgotten import pseudonym
from tests.serving_town import ingest_shop, publish_slates
from tests.small_shop import END, write_small_shop

KEY = b"k" * 32
DAIRY, SNACKS = "shopper-00", "shopper-01"


@dataclass(frozen=True)
class WithOdds(View):
    """A view whose lists have odds: who has an item far up in theirs buys it more often, and more if it is shown."""

    def candidates(self, shopper_id: str) -> Ranked:
        return _with_odds(super().candidates(shopper_id), 0.0)

    def popular(self, level: str, store_id: str | None) -> Ranked:
        return _with_odds(super().popular(level, store_id), -3.0)


def _with_odds(ranked: Ranked, base: float) -> Ranked:
    unshown = base - 0.1 * np.arange(len(ranked))
    ones = np.ones(len(ranked))
    odds = np.stack([unshown, unshown + 0.5, ones, ones, 0.0 * ones], axis=1)
    return replace(ranked, odds=odds.astype(np.float16))


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    import polars as pl

    root: Path = tmp_path_factory.mktemp("possible")
    folder = write_small_shop(root / "shop")
    items = pl.read_csv(folder / "items.csv")
    items.with_columns(cost=pl.col("price") / 2).drop("maker_id").write_csv(folder / "items.csv")
    settings = ingest_shop(folder, root / "home")
    publish_slates(settings)
    found = open_view(settings.paths)
    assert found is not None
    return WithOdds(**{name: getattr(found, name) for name in vars(found)})


def shown(view: View, ask: Ask, **given: Any) -> list[int]:
    return [one.place for one in decide(view, ask, END, **given).items]


def asked(*shares: float) -> Ask:
    return Ask("entrance", "s1", 6, shoppers=list(zip((DAIRY, SNACKS), shares, strict=False)))


def test_the_slate_goes_from_nobody_s_to_the_shopper_s_as_they_become_sure(view: View) -> None:
    nobody, own = shown(view, Ask("entrance", "s1", 6)), shown(view, Ask("entrance", "s1", 6, DAIRY))
    alike = [len(set(shown(view, asked(share))) & set(own)) for share in (0.0, 0.3, 0.7, 1.0)]
    assert set(shown(view, asked(0.0))) == set(nobody) and set(shown(view, asked(1.0))) == set(own)
    assert alike == sorted(alike) and alike[0] < alike[-1]
    assert decide(view, asked(1.0), END).fallback is None
    assert decide(view, asked(0.0), END).fallback == "unsure:neighbourhood"


def test_without_odds_nothing_of_anybody_is_shown_in_doubt(view: View) -> None:
    plain = View(**{one.name: getattr(view, one.name) for one in fields(View)})
    assert shown(plain, asked(0.6, 0.4)) == shown(plain, replace(asked(), shoppers=(), unsure=True))


def test_a_decision_in_doubt_is_decided_again_from_its_record_and_forgotten_with_either(
    view: View, tmp_path: Path
) -> None:
    engine = open_decisions(f"sqlite:///{tmp_path / 'decisions.db'}")
    counted: list[str] = []
    log = DecisionLog(engine, KEY, clock=FixedClock(END), keep_days=1, forgotten=lambda _: set(),
                      count=lambda outcome, rows: counted.extend([outcome] * rows))  # fmt: skip
    log.start()
    asks = [asked(0.6, 0.3), asked(0.2, 0.7), replace(asked(0.5), count=3), Ask("phone", "s1", 3, SNACKS)]
    ids: list[str] = []
    for number, ask in enumerate(asks):
        slate = decide(view, ask, END, seed=f"{number:032x}")
        names = [card["item_id"] for card in view.shop.cards([one.place for one in slate.items])]
        ids.append(new_id(END))
        log.note(Asked(ids[-1], END), view, ask, slate, names)
    assert log.flush() and counted == ["logged"] * len(asks)
    log.close()
    for name in ids:
        record = find_record(engine, name)
        assert replay(record).agrees, replay(record).why
        assert all(slot.propensities.sum() == pytest.approx(1) for slot in slots(record))
    assert erase_decisions(engine, pseudonym(SNACKS, KEY)) == 3
    assert read_decision(engine, ids[2]) is not None and read_decision(engine, ids[0]) is None
    assert erase_decisions(engine, pseudonym(DAIRY, KEY)) == 1
