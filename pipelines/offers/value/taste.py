"""What shoppers choose within a category: a conditional logit over its goods, learned from purchases alone.

    utility = item + sum over the item's words of (liking + slope x the shopper's interest in the word)
              + (price of the category + own price) x dear + again x own share of the category's purchases

Liking and slope have a part of the whole shop and a part of the shopper's neighbourhood: what is watched sells in one
place and not in another, and by how much is learned from sales, not assumed. Each purchase is told with some of the
other goods that stood there (McFadden's sampling of alternatives); every weight has a ridge. What is common to all is
learned first, then what is each shopper's own (words, price) and how far shoppers differ, and last what having bought
an item does: own purchases bear the marks of what all like, and would take it away from the items.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# How large a weight is expected to be (standard deviation of the ridge), by block.
_ITEM, _LIKING, _WORD, _PLACE_WORD, _PRICE, _AGAIN = 1.0, 0.5, 2.0, 2.0, 2.0, 2.0
_OWN_WORD, _OWN_PRICE, _KIND_PRICE = 0.5, 1.5, 1.0
_ITERATIONS, _STEPS, _ROUNDS = 80, 2, 3
_CELLS = 2_000_000
"""So many numbers of people's curvatures are held at once."""
_SURE = 20.0
"""How far shoppers differ is as if told by so many of them beforehand."""


@dataclass(frozen=True)
class Taste:
    """Weights.

    Attributes:
        item: shape (items,).
        liking: of a word's goods, shape (places, words), the shop's part included.
        slope: what a shopper's whole interest in a word adds, shape (places, words).
        price: of being dearer than the category's usual price, shape (categories,).
        again: of the share of own purchases of the category that were this item.
        own: what each person adds to the weights of words and price, by its own purchases; shape (people, words + 1).
    """

    item: Floats
    liking: Floats
    slope: Floats
    price: Floats
    again: float
    own: Floats

    def drawn(self, place: Ints, interest: Floats) -> Floats:
        """What words' goods are worth to each person of `own`; shape (people, words)."""
        return np.asarray(self.liking[place] + self.slope[place] * interest + self.own[:, :-1])


@dataclass(frozen=True)
class Choices:
    """Choices, each with the goods that it was made among: `first` is the row of each choice's first good, which is
    the one that was bought.

    `person` (a row of `Taste.own`), `place` (at least 0) and `kind` are of choices, `interest` of people, and `item`,
    `dear` and `again` of rows.
    """

    person: Ints
    place: Ints
    kind: Ints
    interest: Floats
    first: Ints
    item: Ints
    dear: Floats
    again: Floats

    def __len__(self) -> int:
        """How many choices there are."""
        return len(self.first)

    @property
    def choice(self) -> Ints:
        """The choice of each row."""
        return np.repeat(np.arange(len(self)), np.diff(np.r_[self.first, len(self.item)]))


def fit_taste(told: Choices, tags: sparse.csr_matrix, places: int, kinds: int) -> Taste:
    """Fit the weights; without choices, all are 0."""
    words, items = tags.shape[1], tags.shape[0]
    rows, choice = len(told.item), told.choice
    bears = tags[told.item].tocoo()
    at, word, share = bears.row, bears.col, bears.data
    local = told.place[choice[at]] * words + word
    pulled = share * told.interest[told.person[choice[at]], word]
    one = np.arange(rows)
    blocks = (
        (one, told.item, np.ones(rows), items, _ITEM),
        (at, word, share, words, _LIKING),
        (at, local, share, places * words, _LIKING),
        (at, word, pulled, words, _WORD),
        (at, local, pulled, places * words, _PLACE_WORD),
        (one, np.zeros(rows, np.int64), told.dear, 1, _PRICE),
        (one, told.kind[choice], told.dear, kinds, _KIND_PRICE),
    )
    start, parts, ridge = 0, [], []
    for row, column, value, width, spread in blocks:
        parts.append((row, column + start, value))
        start += width
        ridge.append(np.full(width, 1.0 / spread**2))
    row, column, value = (np.concatenate([part[number] for part in parts]) for number in range(3))
    design = sparse.csr_matrix((value, (row, column)), shape=(rows, start))
    weights = _chosen(design, told.first, np.concatenate(ridge))
    ends = np.cumsum([items, words, places * words, words, places * words, 1])
    item, liking, near, slope, steep, price, own_price = np.split(weights, ends)
    margin = np.asarray(design @ weights)
    own, added = _personal(tags, margin, told)
    margin += added
    again = _chosen(sparse.csr_matrix(told.again[:, None]), told.first, np.array([_AGAIN**-2]), margin)
    return Taste(
        item=item,
        liking=liking + near.reshape(places, words),
        slope=slope + steep.reshape(places, words),
        price=price[0] + own_price,
        again=float(again[0]),
        own=own,
    )


def _personal(tags: sparse.csr_matrix, margin: Floats, told: Choices) -> tuple[Floats, Floats]:
    """What each person's own choices add to the weights of words and price, and to each row's margin.

    A few Newton steps towards the most probable values under a normal prior around what everybody has, whose width is
    what people are found to differ by; one with few choices keeps to what everybody has. Some people at a time.
    """
    width, people = tags.shape[1] + 1, len(told.interest)
    own, added = np.zeros((people, width)), np.zeros(len(margin))
    if not len(told):
        return own, added
    order = np.argsort(told.person, kind="stable")
    rows, first = _in_order(told, order)
    some, begin = np.unique(told.person[order], return_index=True)
    ends = np.r_[begin, len(first)]  # of each of them the first choice
    words, dear, margin = sparse.csr_matrix(tags[told.item[rows]]), told.dear[rows], margin[rows]
    bounds = np.r_[first, len(rows)]
    step = max(1, _CELLS // width**2)
    usual = np.array([_OWN_WORD, _OWN_PRICE])
    spread, found = usual.copy(), np.zeros((len(some), width))
    for _ in range(_ROUNDS):
        prior = np.r_[np.full(width - 1, spread[0]), spread[1]] ** -2.0
        square = np.zeros(width)
        for low in range(0, len(some), step):
            high = min(low + step, len(some))
            start, end = bounds[ends[low]], bounds[ends[high]]
            unsure, added[rows[start:end]] = _steps(
                found[low:high],
                np.c_[words[start:end].toarray(), dear[start:end]],
                margin[start:end],
                first[ends[low] : ends[high]] - start,
                ends[low : high + 1] - ends[low],
                prior,
            )
            square += (found[low:high] ** 2 + unsure).sum(axis=0)
        for number, columns in enumerate((slice(0, width - 1), slice(width - 1, width))):
            count = len(some) * len(square[columns])
            spread[number] = np.sqrt((square[columns].sum() + _SURE * usual[number] ** 2) / (count + _SURE))
    own[some] = found
    return own, added


def _steps(
    found: Floats, differ: Floats, margin: Floats, first: Ints, ends: Ints, prior: Floats
) -> tuple[Floats, Floats]:
    """Move `found`, shape (people, weights), in place, towards the most probable values.

    Args:
        found: what was found so far.
        differ: what they are weights of, shape (rows, weights). margin: of rows, without them.
        first: the first row of each choice. ends: the first choice of each person, and how many choices there are.
        prior: 1 / variance of each weight.

    Returns:
        Variances of the weights, as `found`, and what they add to each row.
    """
    sizes = np.diff(np.r_[first, len(margin)])
    of_row = np.repeat(np.repeat(np.arange(len(found)), np.diff(ends)), sizes)
    rows = np.r_[first, len(margin)][ends].tolist()
    bend = np.empty((len(found), len(prior), len(prior)))
    for _ in range(_STEPS):
        chance = _chances(margin + (differ * found[of_row]).sum(axis=1), first)
        apart = differ - np.repeat(np.add.reduceat(differ * chance[:, None], first), sizes, axis=0)
        scaled = apart * np.sqrt(chance)[:, None]
        slope = np.add.reduceat(apart[first], ends[:-1]) - prior * found
        for number, (start, end) in enumerate(pairwise(rows)):
            bend[number] = scaled[start:end].T @ scaled[start:end]
        bend += np.diag(prior)
        found += np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
    return np.diagonal(np.linalg.inv(bend), axis1=1, axis2=2), (differ * found[of_row]).sum(axis=1)


def _in_order(told: Choices, order: Ints) -> tuple[Ints, Ints]:
    """The rows of choices in another order, and where each begins."""
    sizes = np.diff(np.r_[told.first, len(told.item)])[order]
    first = np.cumsum(sizes) - sizes
    rows = np.repeat(told.first[order] - first, sizes) + np.arange(sizes.sum())
    return rows.astype(np.int64), first.astype(np.int64)


def _chances(margin: Floats, first: Ints) -> Floats:
    """The chance of each row within its choice."""
    sizes = np.diff(np.r_[first, len(margin)])
    raised = np.exp(margin - np.repeat(np.maximum.reduceat(margin, first), sizes))
    return np.asarray(raised / np.repeat(np.add.reduceat(raised, first), sizes))


def _chosen(design: sparse.csr_matrix, first: Ints, ridge: Floats, offset: Floats | float = 0.0) -> Floats:
    """Weights under which the first row of each choice is most likely chosen, with a ridge; `offset` is added."""
    if not len(first):
        return np.zeros(len(ridge))
    turned = design.T.tocsr()
    sizes = np.diff(np.r_[first, design.shape[0]])

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = design @ weights + offset
        most = np.maximum.reduceat(margin, first)
        raised = np.exp(margin - np.repeat(most, sizes))
        total = np.add.reduceat(raised, first)
        missed = raised / np.repeat(total, sizes)
        missed[first] -= 1.0
        value = (most + np.log(total) - margin[first]).sum() + 0.5 * (ridge * weights**2).sum()
        return float(value), np.asarray(turned @ missed + ridge * weights)

    found = minimize(loss, np.zeros(len(ridge)), jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS})
    return np.asarray(found.x, np.float64)
