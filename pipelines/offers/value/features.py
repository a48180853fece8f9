"""What is told to the value model of a shopper, an item and a moment: only what lay before the moment.

Every count is exact at its moment (`past.Past`). The taste model is fitted anew at a few moments of the history, each
used for what follows it until the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipelines.offers.value import attention
from pipelines.offers.value.data import DAY, ValueData
from pipelines.offers.value.gaps import own_gaps, usual_gaps
from pipelines.offers.value.past import Past
from pipelines.offers.value.shelves import Shelves
from pipelines.offers.value.taste import Choices, Taste, fit_taste

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NAMES = (
    "own_item", "own_item_60", "item_days", "item_due", "own_category", "category_rate", "category_days",
    "category_due", "item_rate", "item_rate_near", "item_trend_near", "category_rate_all", "taste", "taste_share",
    "interest", "dear", "thrift", "dear_to_the_thrifty", "on_offer_share", "display", "visits",
    "visit_days", "lines", "age_days", "taste_all", "redeem", "category_near", "loyalty",
    "taste_words", "taste_price", "prompted_item", "prompted_category", "shown_category", "looked_category", "clicked",
    "place", "taste_item", "clicked_category", "goods_category", "category_gap", "category_due_all",
    "category_expected",
)  # fmt: skip
SHOWN_NAMES = ("showings", "screens", "position", "entrance", "aisle", "checkout", "phone", "cut")
_LONG, _RECENT, _SHOWINGS = 56, 14, 14
_CHOICES, _OTHERS = 60_000, 8
_LIKE_OTHERS = 3.0
"""What is watched nearby counts for each shopper as so many views of their own."""


@dataclass(frozen=True)
class Asked:
    """Questions: who, what, when and in which store (-1: not known); arrays of one length."""

    shopper: Ints
    item: Ints
    time: Ints
    store: Ints

    def __len__(self) -> int:
        """How many there are."""
        return len(self.item)

    def take(self, rows: npt.NDArray[np.integer]) -> Asked:
        """Some of them."""
        return Asked(self.shopper[rows], self.item[rows], self.time[rows], self.store[rows])


class Known:
    """The history of a shop, ready to be asked what was known of a shopper and an item at a moment.

    Args:
        data: the history.
        place_names: neighbourhoods by their numbers in the model that will be asked, to which a shopper of any other is
            one without a home; None: those of the history.
    """

    def __init__(self, data: ValueData, place_names: tuple[str, ...] | None = None) -> None:
        self.data = data
        self.place_names = data.place_names if place_names is None else place_names
        goods = len(data.item_ids)
        every = data.purchases
        alone = chosen(data)
        bought, prompted = every.take(np.flatnonzero(alone)), every.take(np.flatnonzero(~alone))
        self._chosen = bought
        self._goods, self._kinds = goods, data.categories
        self.places = len(self.place_names) + 1  # the last: of those without a home
        number = {name: place for place, name in enumerate(self.place_names)}
        self.home = np.array([*(number.get(name, self.places - 1) for name in data.place_names), self.places - 1])[
            data.home
        ]
        kind = data.category[bought.item]
        near = self.home[bought.shopper]
        self.usual = _medians(data)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.dear = np.nan_to_num(np.log(data.price / self.usual[data.category]), posinf=0.0, neginf=0.0)
            paid = np.nan_to_num(np.log(bought.extra["price"] / self.usual[kind]), posinf=0.0, neginf=0.0)
        # Past: each answers what lay before a moment.
        self._pair = Past(bought.shopper * goods + bought.item, bought.time)
        self._own = Past(bought.shopper * self._kinds + kind, bought.time)
        # Of a visit it is one time that somebody came back to a category, whatever was bought there.
        _, once = np.unique(bought.visit * self._kinds + kind, return_index=True)
        self._returns, self._return_kind = bought.take(once), kind[once]
        self._came_back = Past(self._returns.shopper * self._kinds + self._return_kind, self._returns.time)
        self._pair_any = Past(every.shopper * goods + every.item, every.time)
        self._own_any = Past(every.shopper * self._kinds + data.category[every.item], every.time)
        self._line = Past(bought.shopper, bought.time)
        self._dear = Past(bought.shopper, bought.time, np.clip(paid, -2.0, 2.0))
        self._again_bought = Past(bought.shopper, bought.time, _repeated(bought.shopper, kind, bought.item))
        self._off = Past(every.shopper, every.time, every.extra["off"])
        self._all = Past(bought.item, bought.time)
        self._near = Past(near * goods + bought.item, bought.time)
        self._kind = Past(kind, bought.time)
        self._kind_near = Past(near * self._kinds + kind, bought.time)
        self._visit = Past(data.visits.shopper, data.visits.start)
        self._came = Past(np.zeros(len(data.visits), np.int64), data.visits.start)
        self._came_near = Past(self.home[data.visits.shopper], data.visits.start)
        shown = data.showings
        self._shown = Past(shown.shopper * goods + shown.item, shown.time)
        self._screens = Past(shown.shopper, shown.time)
        self._kinds_shown = Past(shown.shopper * self._kinds + data.category[shown.item], shown.time)
        self._prompted = Past(prompted.shopper * goods + prompted.item, prompted.time)
        self._kinds_prompted = Past(prompted.shopper * self._kinds + data.category[prompted.item], prompted.time)
        looks = data.looks
        self._clicks: tuple[int, tuple[Floats, Floats]] = (-1, (np.zeros(goods), np.zeros(goods)))
        self._gaps: tuple[int, Floats] = (-1, np.zeros(0))
        self._alike = np.log(np.maximum(np.bincount(data.category, minlength=self._kinds), 1))
        self._kinds_looked = Past(looks.shopper * self._kinds + data.category[looks.item], looks.time)
        seen = data.interests
        words = data.tags.shape[1]
        self._words = words
        self._interest = Past(seen.shopper * words + seen.item, seen.time)
        self._interest_near = Past(self.home[seen.shopper] * words + seen.item, seen.time)
        self._display = _Displays(data.displays, goods)

    # ------------------------------------------------------------------ the shopper

    def interest(self, shopper: Ints, moment: int) -> Floats:
        """How shoppers divide their attention among words, by what they watched before a moment, shape (n, words).

        Rows sum to 1. Of whom little is known is expected what is watched in the neighbourhood.
        """
        keys = shopper[:, None] * self._words + np.arange(self._words)
        counts = self._interest.count(keys.ravel(), np.full(keys.size, moment)).reshape(keys.shape)
        everywhere = np.arange(self.places * self._words)
        near = self._interest_near.count(everywhere, np.full(len(everywhere), moment)).reshape(-1, self._words) + 0.1
        expected = _LIKE_OTHERS * (near / near.sum(axis=1, keepdims=True))[self.home[shopper]]
        return np.asarray((counts + expected) / (counts.sum(axis=1, keepdims=True) + _LIKE_OTHERS))

    def thrift(self, shopper: Ints, time: Ints) -> Floats:
        """How much less than usual a shopper pays: minus the mean log of price to usual price, shrunk to 0."""
        return np.asarray(-10.0 * self._dear.count(shopper, time) / (self._line.count(shopper, time) + 20.0))

    # ------------------------------------------------------------------ taste

    def taste(self, moment: int, rng: np.random.Generator) -> Taste:
        """Fit the taste model on what was chosen before a moment."""
        people, choices = self._choices(moment, rng)
        taste = fit_taste(choices, self.data.tags, self.places, self._kinds)
        own = np.zeros((len(self.data.shopper_ids), taste.own.shape[1]))
        own[people] = taste.own
        return replace(taste, own=own)

    def _choices(self, moment: int, rng: np.random.Generator) -> tuple[Ints, Choices]:
        """Who chose, and what before a moment, each with some of the other goods of its category that stood there."""
        data, bought = self.data, self._chosen
        past = np.flatnonzero(bought.time < moment)
        shelves = Shelves(bought.take(past), data.visits, self._goods, moment)
        if len(past) > _CHOICES:
            past = np.sort(rng.choice(past, _CHOICES, replace=False))
        shopper, mine, time = bought.shopper[past], bought.item[past], bought.time[past]
        kind = data.category[mine]
        sold = np.unique(mine)
        goods = sold[np.argsort(data.category[sold], kind="stable")]
        low = np.searchsorted(data.category[goods], kind)
        width = np.searchsorted(data.category[goods], kind, side="right") - low
        # All goods of a small category, of a large one some, each as likely as any other.
        drawn = np.sort((rng.random((len(past), _OTHERS)) * width[:, None]).astype(np.int64), axis=1)
        once = np.c_[np.ones(len(past), bool), np.diff(drawn, axis=1) > 0]
        few = width[:, None] <= _OTHERS
        column = np.where(few, np.arange(_OTHERS), drawn)
        row, at = np.nonzero(np.where(few, column < width[:, None], once))
        other = goods[low[row] + column[row, at]]
        there = (other != mine[row]) & shelves.had(data.visits.store[bought.visit[past[row]]], other, time[row])
        row, other = row[there], other[there]
        some, many = np.unique(row, return_counts=True)
        row, item = np.r_[some, row], np.r_[mine[some], other]
        order = np.argsort(row, kind="stable")  # what was bought before what was not
        row, item = row[order], item[order]
        people, person = np.unique(shopper[some], return_inverse=True)
        return people, Choices(
            person=person,
            place=self.home[shopper[some]],
            kind=kind[some],
            interest=self.interest(people, moment),
            first=np.cumsum(many + 1) - (many + 1),
            item=item,
            dear=self.dear[item],
            again=self._again(shopper[row], item, time[row]),
        )

    def _again(self, shopper: Ints, item: Ints, time: Ints) -> Floats:
        own = self._pair.count(shopper * self._goods + item, time)
        return np.asarray(own / (self._own.count(shopper * self._kinds + self.data.category[item], time) + 1.0))

    def _usual_gap(self, moment: int) -> Floats:
        """Of each category, by what lay before a moment; that of the last moment asked for is kept."""
        if self._gaps[0] != moment:
            past = np.flatnonzero(self._returns.time < moment)
            some, kind = self._returns.take(past), self._return_kind[past]
            self._gaps = moment, usual_gaps(some.shopper, kind, some.time, moment, self._kinds)
        return self._gaps[1]

    def _clicked(self, moment: int) -> tuple[Floats, Floats]:
        """How readily goods were clicked before a moment; that of the last moment asked for is kept."""
        if self._clicks[0] != moment:
            looks = self.data.looks
            past = looks.take(np.flatnonzero(looks.time < moment))
            found = attention.clicked(past.item, past.extra["taken"], self.data.category, self._kinds)
            self._clicks = moment, found
        return self._clicks[1]

    # ------------------------------------------------------------------ features

    def features(self, asked: Asked, taste: Taste, moment: int) -> Floats:
        """What is told of each question, shape (n, len(NAMES)), float32; NaN: there was nothing.

        Args:
            asked: none of them before `moment`.
            taste: fitted at `moment`.
            moment: of the interests and of taste.
        """
        data = self.data
        who, item, time = asked.shopper, asked.item, asked.time
        kind, near = data.category[item], self.home[who]
        pair, own, local = who * self._goods + item, who * self._kinds + kind, near * self._goods + item
        long, recent = time - _LONG * DAY, time - _RECENT * DAY
        had, had_kind = self._pair.count(pair, time), self._own.count(own, time)
        item_days, kind_days = self._pair_any.last(pair, time), self._own_any.last(own, time)
        visits, lines = self._visit.count(who, time), self._line.count(who, time)
        came = self._came.count(np.zeros(len(who), np.int64), time, since=long)
        rate = (self._all.count(item, time, since=long) + 0.5) / (came + 20.0)
        kind_rate = self._kind.count(kind, time, since=long) / (came + 1.0)
        came_near = self._came_near.count(near, time, since=long)
        near_rate = (self._near.count(local, time, since=long) + 30.0 * rate) / (came_near + 30.0)
        lately = (self._near.count(local, time, since=recent) + 30.0 * near_rate) / (
            self._came_near.count(near, time, since=recent) + 30.0
        )
        kind_near = (self._kind_near.count(near * self._kinds + kind, time, since=long) + 50.0 * (kind_rate + 1e-3)) / (
            came_near + 50.0
        )
        thrift, dear = self.thrift(who, time), self.dear[item]
        people, number = np.unique(who, return_inverse=True)
        interest = self.interest(people, moment)
        worth, total = self._worth(people, interest, taste)
        base = worth[number, item]
        each = data.tags[item].multiply(interest[number]).tocsc()
        own_price = (taste.price[kind] + taste.own[who, -1]) * dear
        again = taste.again * had / (had_kind + 1.0)
        share = base - total[number, kind]
        clicked, clicked_kind = self._clicked(moment)
        gap = self._usual_gap(moment)[kind]
        between = self._came_back.first(own, time) - self._came_back.last(own, time)
        own_gap = own_gaps(gap, between, self._came_back.count(own, time))
        columns = (
            np.log1p(had),
            np.log1p(self._pair.count(pair, time, since=time - 60 * DAY)),
            item_days,
            item_days / _gap(self._pair.first(pair, time), self._pair.last(pair, time), had),
            np.log1p(had_kind),
            _logit((had_kind + 3.0 * np.minimum(kind_rate, 0.9)) / (visits + 3.0)),
            kind_days,
            kind_days / _gap(self._own.first(own, time), self._own.last(own, time), had_kind),
            np.log(rate),
            np.log(near_rate),
            np.log(lately / near_rate),
            np.log(kind_rate + 1e-4),
            base + own_price + again,
            share + own_price + again,
            np.asarray(each.sum(axis=1)).ravel(),
            dear,
            thrift,
            own_price,
            self._off.count(who, time) / (lines + 10.0),
            self._display.on(asked.store, item, time),
            np.log1p(visits),
            self._visit.last(who, time),
            lines / (visits + 1.0),
            np.minimum((time - data.launched[item]) / DAY, 400.0),
            total[number, kind],
            np.log1p(self._off.count(who, time)),
            np.log(kind_near / (kind_rate + 1e-3)),
            (self._again_bought.count(who, time) + 2.0) / (lines + 10.0),
            base - taste.item[item],
            taste.own[who, -1] * dear,
            np.log1p(self._prompted.count(pair, time)),
            np.log1p(self._kinds_prompted.count(own, time)),
            np.log1p(self._kinds_shown.count(own, time, since=long)),
            np.log1p(self._kinds_looked.count(own, time)),
            clicked[item],
            near,
            taste.item[item],
            clicked_kind[item],
            self._alike[kind],
            np.log(gap),
            kind_days / own_gap,
            np.log(np.nan_to_num(self._visit.first(who, time)) / gap + 0.5),
        )
        return np.stack(columns, axis=1).astype(np.float32)

    def shown(self, asked: Asked, position: Floats, placement: Floats, cut: Floats) -> Floats:
        """What is told beside `features` where an item is shown, shape (n, len(SHOWN_NAMES)), float32."""
        since = asked.time - _SHOWINGS * DAY
        pair = asked.shopper * self._goods + asked.item
        columns = (
            self._shown.count(pair, asked.time, since=since),
            np.log1p(self._screens.count(asked.shopper, asked.time, since=since)),
            position,
            *((placement == one).astype(np.float64) for one in range(4)),
            cut,
        )
        return np.stack(columns, axis=1).astype(np.float32)

    def likely(self, shopper: Ints, goods: Ints, taste: Taste, count: int) -> Ints:
        """For each shopper the goods that taste, and sales in the neighbourhood, make likeliest; shape (n, count)."""
        moment = self.data.moment
        worth, _ = self._worth(shopper, self.interest(shopper, moment), taste)
        place, number = np.unique(self.home[shopper], return_inverse=True)
        keys = place[:, None] * self._goods + goods
        since = np.full(keys.size, moment - _LONG * DAY)
        sold = self._near.count(keys.ravel(), np.full(keys.size, moment), since=since).reshape(keys.shape)
        score = worth[:, goods] + np.log1p(sold)[number]
        return np.asarray(goods[np.argpartition(-score, count - 1, axis=1)[:, :count]])

    def _worth(self, people: Ints, interest: Floats, taste: Taste) -> tuple[Floats, Floats]:
        """Utilities of everything to people, and what each category attracts together (a log-sum)."""
        drawn = taste.liking[self.home[people]] + taste.slope[self.home[people]] * interest + taste.own[people, :-1]
        worth = taste.item + (self.data.tags @ drawn.T).T
        raised = np.exp(np.clip(worth, -20.0, 20.0))
        order = np.argsort(self.data.category, kind="stable")
        starts = np.searchsorted(self.data.category[order], np.arange(self._kinds))
        total = np.add.reduceat(raised[:, order], np.minimum(starts, len(order) - 1), axis=1)
        return worth, np.log(np.maximum(total, 1e-9))


class _Displays:
    """Whether an item is advertised in a store at a moment."""

    def __init__(self, table: Ints, goods: int) -> None:
        self._goods = goods
        key = table[:, 0] * goods + table[:, 1]
        self._starts, self._ends = Past(key, table[:, 2]), Past(key, table[:, 3])

    def on(self, store: Ints, item: Ints, time: Ints) -> Floats:
        key = np.where(store < 0, -1, store * self._goods + item)
        return np.minimum(1.0, self._starts.count(key, time + 1) - self._ends.count(key, time + 1))


def chosen(data: ValueData) -> npt.NDArray[np.bool_]:
    """Which purchases were of what was not shown on their visit: they tell what shoppers want of themselves.

    What is bought because a screen showed it tells nothing of habits, and little of what is chosen among all goods: who
    counts it believes ever more in what it shows.
    """
    goods, shown, bought = len(data.item_ids), data.showings, data.purchases
    seen = np.unique(shown.visit * goods + shown.item)
    return np.asarray(~np.isin(bought.visit * goods + bought.item, seen))


def _repeated(shopper: Ints, kind: Ints, item: Ints) -> Floats:
    """Whether each purchase, in the order of times, is of the item that the shopper bought last in its category."""
    order = np.lexsort((np.arange(len(item)), kind, shopper))
    same = np.zeros(len(item))
    before, after = order[:-1], order[1:]
    same[after] = (
        (shopper[before] == shopper[after]) & (kind[before] == kind[after]) & (item[before] == item[after])
    ).astype(np.float64)
    return same


def _medians(data: ValueData) -> Floats:
    """The usual price of each category: the median of its items'; NaN: none is known."""
    found = np.full(data.categories, np.nan)
    for kind in range(data.categories):
        prices = data.price[(data.category == kind) & (data.price > 0)]
        if len(prices):
            found[kind] = np.median(prices)
    return found


def _gap(first: Floats, last: Floats, count: Floats) -> Floats:
    """Mean days between purchases; NaN below two."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count >= 2, np.maximum((first - last) / (count - 1.0), 1.0), np.nan)


def _logit(share: Floats) -> Floats:
    clipped = np.clip(share, 1e-5, 1 - 1e-5)
    return np.asarray(np.log(clipped / (1.0 - clipped)))
