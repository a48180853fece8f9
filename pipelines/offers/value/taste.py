"""What shoppers choose within a category: a conditional logit over its goods, learned from purchases alone.

    utility = item + sum over the item's words of (liking + slope x the shopper's interest in the word)
              + (price + own price x the shopper's thrift) x dear + again x own share of the category's purchases

Liking and slope have a part of the whole shop and a part of the shopper's neighbourhood: what is watched sells in one
place and not in another, and by how much is learned from sales, not assumed. It is fitted to differences between what
was bought and other goods of the category (McFadden's sampling of alternatives), with a ridge on every weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# How large a weight is expected to be (standard deviation of the ridge), by block.
_ITEM, _LIKING, _WORD, _PLACE_WORD, _PRICE, _AGAIN = 1.0, 0.5, 2.0, 2.0, 2.0, 2.0
_OWN_WORD, _OWN_PRICE, _KIND_PRICE = 0.7, 2.0, 1.0
_ITERATIONS, _STEPS = 60, 3


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
    """Choices: each row's item and what is told of it for this shopper (a row of `Taste.own`).

    `place` is at least 0; `interest` is of people, the others of rows.
    """

    person: Ints
    place: Ints
    interest: Floats
    kind: Ints
    item: Ints
    dear: Floats
    again: Floats
    other: Ints
    other_dear: Floats
    other_again: Floats


def fit_taste(told: Choices, tags: sparse.csr_matrix, places: int, kinds: int) -> Taste:
    """Fit the weights to rows in which `item` was bought and not `other`; without rows, all are 0."""
    words, items = tags.shape[1], tags.shape[0]
    rows = len(told.item)
    apart = (tags[told.item] - tags[told.other]).tocoo()
    at, word, sign = apart.row, apart.col, apart.data
    local = told.place[at] * words + word
    pulled = sign * told.interest[told.person[at], word]
    one = np.arange(rows)
    dear = told.dear - told.other_dear
    blocks = (
        (one, told.item, np.ones(rows), items, _ITEM),
        (one, told.other, -np.ones(rows), 0, _ITEM),  # the same block
        (at, word, sign, words, _LIKING),
        (at, local, sign, places * words, _LIKING),
        (at, word, pulled, words, _WORD),
        (at, local, pulled, places * words, _PLACE_WORD),
        (one, np.zeros(rows, np.int64), dear, 1, _PRICE),
        (one, told.kind, dear, kinds, _KIND_PRICE),
    )
    start, parts, ridge = 0, [], []
    for number, (row, column, value, width, spread) in enumerate(blocks):
        parts.append((row, column + (0 if number == 1 else start), value))
        start += width
        ridge.append(np.full(width, 1.0 / spread**2))
    row, column, value = (np.concatenate([part[number] for part in parts]) for number in range(3))
    design = sparse.csr_matrix((value, (row, column)), shape=(rows, start))
    weights = _logistic(design, np.concatenate(ridge))
    ends = np.cumsum([items, words, places * words, words, places * words, 1])
    item, liking, near, slope, steep, price, own_price = np.split(weights, ends)
    differ = np.c_[apart.toarray(), dear]
    margin = np.asarray(design @ weights)
    own = _personal(differ, margin, told.person, len(told.interest))
    # Last, and given all else: own purchases bear the marks of what all like, and would take it away from the items.
    margin += (differ * own[told.person]).sum(axis=1)
    again = _logistic(sparse.csr_matrix((told.again - told.other_again)[:, None]), np.array([_AGAIN**-2]), margin)
    return Taste(
        item=item,
        liking=liking + near.reshape(places, words),
        slope=slope + steep.reshape(places, words),
        price=price[0] + own_price,
        again=float(again[0]),
        own=own,
    )


def _personal(apart: Floats, margin: Floats, person: Ints, people: int) -> Floats:
    """What each person's own choices add to the weights of words and price: a few Newton steps towards the most
    probable values under a normal prior around what everybody has; one with few choices keeps to that."""
    width = apart.shape[1]
    prior = 1.0 / np.r_[np.full(width - 1, _OWN_WORD), _OWN_PRICE] ** 2
    own = np.zeros((people, width))
    order = np.argsort(person, kind="stable")
    apart, margin, person = apart[order], margin[order], person[order]
    starts = np.searchsorted(person, np.arange(people + 1))
    some = np.flatnonzero(np.diff(starts))
    for _ in range(_STEPS):
        missed = expit(-(margin + (apart * own[person]).sum(axis=1)))
        slope = np.add.reduceat(apart * missed[:, None], starts[some], axis=0) - prior * own[some]
        sure = missed * (1.0 - missed)
        bend = np.empty((len(some), width, width))
        for column in range(width):
            bend[:, column] = np.add.reduceat(apart * (apart[:, column] * sure)[:, None], starts[some], axis=0)
        bend += np.diag(prior)
        own[some] += np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
    return own


def _logistic(design: sparse.csr_matrix, ridge: Floats, offset: Floats | float = 0.0) -> Floats:
    """Weights under which each row's difference is most likely positive, with a ridge; `offset` is added to each."""
    turned = design.T.tocsr()

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = design @ weights + offset
        value = np.logaddexp(0.0, -margin).sum() + 0.5 * (ridge * weights**2).sum()
        return float(value), np.asarray(-(turned @ expit(-margin)) + ridge * weights)

    found = minimize(loss, np.zeros(len(ridge)), jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS})
    return np.asarray(found.x, np.float64)
