"""The two towers of `two_tower` and their training: sums of embeddings, gradients written out by hand.

An item is the sum of its content's embeddings and of its own; a shopper is a common start, the sum of their attributes'
embeddings and of their own, and a linear map of the mean of their latest items. The score is the product of the two.

The loss is sampled softmax (Bengio and Senécal, 2008) with the logQ correction of Yi et al., "Sampling-bias-corrected
neural modeling for large corpus item recommendations", 2019. Two things make it cheap: all shoppers of a batch share
the drawn items, so that the scores of what was not bought are one dense product; and the purchases of one shopper that
follow each other share the shopper's vector and with it that product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from scipy import sparse

from models.base import RecommenderConfig
from models.neural.rows import Bags, RowAdagrad, Touched, gathered, ranges
from models.neural.softmax import Gradients, Targets, shared_softmax
from models.torch_training import Group, batches, bfloat16_products


class TrainingConfig(RecommenderConfig):
    """How the towers are trained."""

    components: int = Field(64, ge=1, le=1024, description="length of an embedding")
    epochs: int = Field(5, ge=1)
    learning_rate: float = Field(0.03, gt=0)
    batch: int = Field(512, ge=1, description="groups of purchases in a step")
    targets: int = Field(16, ge=1, description="at most so many purchases of one shopper that follow each other")
    history: int = Field(50, ge=0, description="how many of the latest items speak for a shopper")
    negatives: int = Field(1024, ge=1, description="items drawn in a step to stand for all others")
    popular_negatives: float = Field(0.5, ge=0, le=1, description="share of them drawn by how often they were bought")
    unsold_negatives: bool = Field(
        False, description="draw the others from the whole catalogue; an item never sold is then known by its content"
    )
    log_q: bool = Field(True, description="correct the scores of drawn items for how likely they are drawn")
    item_dropout: float = Field(0.1, ge=0, lt=1, description="how often an item is shown by its content alone")
    shopper_dropout: float = Field(
        0.1, ge=0, lt=1, description="how often their identity is hidden, and their attributes"
    )
    bfloat16: bool = Field(True, description="products of bfloat16 numbers where the hardware has them")


@dataclass(frozen=True)
class Purchases:
    """What is learned from: one entry a purchase, by shopper and then by time.

    Attributes:
        items: column of the item; int64, shape (purchases,).
        weights: weight in the loss; float32, shape (purchases,).
        starts: where each shopper's purchases begin, and at the end their number; int64, shape (shoppers + 1,).
    """

    items: torch.Tensor
    weights: torch.Tensor
    starts: torch.Tensor

    def to(self, device: torch.device) -> Purchases:
        """The same on another device."""
        return Purchases(self.items.to(device), self.weights.to(device), self.starts.to(device))


class Features:
    """A sparse feature matrix on the device; rows are picked as bags."""

    def __init__(self, matrix: sparse.csr_matrix, device: torch.device) -> None:
        self.width = int(matrix.shape[1])
        self._starts = torch.from_numpy(matrix.indptr.astype(np.int64)).to(device)
        self._columns = torch.from_numpy(matrix.indices.astype(np.int64)).to(device)
        self._values = torch.from_numpy(matrix.data.astype(np.float32)).to(device)

    def pick(self, rows: torch.Tensor) -> tuple[Bags, torch.Tensor]:
        """Bags over the features that `rows` have, and the numbers of those features."""
        starts, ends = self._starts[rows], self._starts[rows + 1]
        entries = ranges(starts, ends)
        columns = self._columns[entries]
        touched = Touched(columns, self.width)
        return Bags.of(touched.places(columns), ends - starts, self._values[entries], len(touched.rows)), touched.rows


@dataclass(frozen=True)
class _Batch:
    """Groups of purchases that follow each other, each group of one shopper."""

    shoppers: torch.Tensor  # row of each group's shopper
    targets: torch.Tensor  # items bought, group after group
    weights: torch.Tensor  # of the targets, sum 1
    group_of: torch.Tensor  # group of each target
    history: torch.Tensor  # items bought just before, group after group
    counts: torch.Tensor  # length of each group's history


class Towers:
    """All weights, and their training. Everything random comes from generators on the CPU, on a GPU as well."""

    def __init__(
        self,
        content: sparse.csr_matrix,
        attributes: sparse.csr_matrix,
        purchases: Purchases,
        settings: TrainingConfig,
        *,
        device: torch.device,
        processes: Group,
        generator: torch.Generator,
    ) -> None:
        """Start at small random weights.

        Args:
            content: features of every item; shape (items, features).
            attributes: features of every shopper; shape (shoppers, features).
            purchases: what to learn from.
            settings: how.
            device: where.
            processes: who shares the work; all must be given the same data and the same generator's state.
            generator: source of the weights and of all draws.
        """
        self._settings, self._device, self._processes = settings, device, processes
        self._random = generator
        self._purchases = purchases.to(device)
        self._content, self._attributes = Features(content, device), Features(attributes, device)
        self._sold = (torch.bincount(self._purchases.items, minlength=content.shape[0]) > 0).float()
        self._half = settings.bfloat16 and bfloat16_products(device)
        self._negatives = _Negatives(purchases.items, content.shape[0], settings, device)
        self.items, self.content = self._table(content.shape[0]), self._table(content.shape[1])
        self.shoppers, self.attributes = self._table(attributes.shape[0]), self._table(attributes.shape[1])
        self.start = self._table(1)
        self.map = RowAdagrad(torch.eye(settings.components, device=device), settings.learning_rate)

    def train(self) -> list[float]:
        """Train all epochs; return the mean loss of each."""
        losses = []
        for _ in range(self._settings.epochs):
            shoppers, starts, ends = _groups(self._purchases.starts.cpu(), self._settings.targets, self._random)
            total, weight = 0.0, 0.0
            for chosen in batches(len(shoppers), self._settings.batch, self._random):
                batch, share = self._batch(shoppers[chosen], starts[chosen], ends[chosen])
                total, weight = total + share * float(self._step(batch)), weight + share
            losses.append(total / max(weight, 1e-12))
        return losses

    def item_vectors(self) -> torch.Tensor:
        """What is learned of every item, zero where nothing is; shape (items, components)."""
        rows = torch.arange(len(self.items.weights), device=self._device)
        bags, features = self._content.pick(rows)
        return bags.sum(self.content.trained()[features]) + self.items.trained()

    def shopper_vectors(self) -> torch.Tensor:
        """What is learned of every shopper apart from their history; shape (shoppers, components)."""
        rows = torch.arange(len(self.shoppers.weights), device=self._device)
        bags, features = self._attributes.pick(rows)
        return self.start.weights + bags.sum(self.attributes.trained()[features]) + self.shoppers.trained()

    # ------------------------------------------------------------------ one step

    def _table(self, rows: int) -> RowAdagrad:
        start = torch.randn(rows, self._settings.components, generator=self._random) * 0.1
        return RowAdagrad(start.to(self._device), self._settings.learning_rate)

    def _batch(self, shoppers: torch.Tensor, starts: torch.Tensor, ends: torch.Tensor) -> tuple[_Batch, float]:
        """The chosen groups with their history, and the weight that their purchases have together."""
        shoppers, starts, ends = (part.to(self._device) for part in (shoppers, starts, ends))
        targets = ranges(starts, ends)
        earliest = torch.maximum(starts - self._settings.history, self._purchases.starts[shoppers])
        weights = self._purchases.weights[targets]
        whole = weights.sum()
        batch = _Batch(
            shoppers=shoppers,
            targets=self._purchases.items[targets],
            weights=weights / whole,
            group_of=torch.repeat_interleave(torch.arange(len(starts), device=self._device), ends - starts),
            history=self._purchases.items[ranges(earliest, starts)],
            counts=starts - earliest,
        )
        return batch, float(whole)

    def _step(self, batch: _Batch) -> torch.Tensor:
        """Forward, backward and update on one batch; return its mean loss."""
        drawn, log_q = self._negatives.draw(self._random)
        touched = Touched(torch.cat([batch.targets, batch.history, drawn]), len(self.items.weights))
        keep_item = self._kept(len(touched.rows), self._settings.item_dropout)
        keep_shopper = self._kept(len(batch.shoppers), self._settings.shopper_dropout)
        keep_traits = self._kept(len(batch.shoppers), self._settings.shopper_dropout)
        targets = Targets(touched.places(batch.targets), batch.group_of, batch.weights)
        negatives = touched.places(drawn)

        content, features = self._content.pick(touched.rows)
        keep_item = torch.where(content.counts()[:, None] > 0, keep_item, 1.0)  # who has no content is never hidden
        keep_item = keep_item * self._sold[touched.rows][:, None]
        items = content.sum(self.content.rows(features)) + keep_item * self.items.rows(touched.rows)
        latest = Bags.of(touched.places(batch.history), batch.counts, _shares(batch.counts), len(items))
        means = latest.sum(items)
        attributes, traits = self._attributes.pick(batch.shoppers)
        shoppers = self.start.weights + means @ self.map.weights
        shoppers += keep_traits * attributes.sum(self.attributes.rows(traits))
        shoppers += keep_shopper * self.shoppers.rows(batch.shoppers)

        found = self._softmax(shoppers, items, targets, negatives, log_q)
        to_items = self._to_items(found, shoppers, targets, negatives, latest)
        self.items.step(touched.rows, keep_item * to_items)
        self.content.step(features, content.transposed().sum(to_items))
        self.attributes.step(traits, attributes.transposed().sum(keep_traits * found.groups))
        self._step_identities(batch.shoppers, keep_shopper * found.groups)
        everything = torch.arange(self._settings.components, device=self._device)
        self.start.step(everything[:1], found.groups.sum(dim=0, keepdim=True))
        self.map.step(everything, means.T @ found.groups)
        return found.loss

    def _kept(self, count: int, dropout: float) -> torch.Tensor:
        """1 where an identity is seen in this step, else 0; shape (count, 1)."""
        if not dropout:
            return torch.ones(count, 1, device=self._device)
        return (torch.rand(count, 1, generator=self._random) >= dropout).to(self._device, torch.float32)

    def _softmax(
        self, shoppers: torch.Tensor, items: torch.Tensor, targets: Targets, drawn: torch.Tensor, log_q: torch.Tensor
    ) -> Gradients:
        """The loss and its gradients; each process computes its part of the groups and gets the whole."""
        processes, count = self._processes, len(shoppers)
        if processes.size == 1:
            return shared_softmax(shoppers, items, targets, drawn, log_q, half=self._half)
        first, last = (count * number // processes.size for number in (processes.rank, processes.rank + 1))
        own, begin = targets.of_groups(first, last), int((targets.groups < first).sum())
        part = shared_softmax(shoppers[first:last], items, own, drawn, log_q, half=self._half)
        scores, groups = torch.zeros_like(targets.weights), torch.zeros_like(shoppers)
        scores[begin : begin + len(part.scores)], groups[first:last] = part.scores, part.groups
        whole = processes.sum(torch.cat([part.loss, scores, groups.flatten(), part.drawn.flatten()]))
        sizes = [1, len(scores), groups.numel(), part.drawn.numel()]
        loss, scores, flat, rest = torch.split(whole, sizes)
        return Gradients(loss, scores, flat.view_as(groups), rest.view_as(part.drawn))

    def _to_items(
        self, found: Gradients, shoppers: torch.Tensor, targets: Targets, drawn: torch.Tensor, latest: Bags
    ) -> torch.Tensor:
        """Gradient to the touched items: as targets, as latest items of a shopper, and as drawn ones."""
        groups = len(shoppers)
        return gathered(
            torch.cat([targets.items, latest.columns, drawn]),
            torch.cat(
                [targets.groups, groups + latest.owners(), 2 * groups + torch.arange(len(drawn), device=self._device)]
            ),
            torch.cat([found.scores, latest.weights, torch.ones(len(drawn), device=self._device)]),
            rows=latest.width,
            width=2 * groups + len(drawn),
        ).sum(torch.cat([shoppers, found.groups @ self.map.weights.T, found.drawn]))

    def _step_identities(self, shoppers: torch.Tensor, gradient: torch.Tensor) -> None:
        """A shopper may stand in several groups of a batch."""
        own = Touched(shoppers, len(self.shoppers.weights))
        every = torch.arange(len(shoppers), device=self._device)
        ones = torch.ones(len(shoppers), device=self._device)
        bags = gathered(own.places(shoppers), every, ones, rows=len(own.rows), width=len(shoppers))
        self.shoppers.step(own.rows, bags.sum(gradient))


class _Negatives:
    """Draws the items that stand for all others: some by how often they were bought, the rest evenly."""

    def __init__(self, bought: torch.Tensor, items: int, settings: TrainingConfig, device: torch.device) -> None:
        self._bought, self._device = bought.cpu(), device
        self._count, self._popular = settings.negatives, round(settings.negatives * settings.popular_negatives)
        counts = torch.bincount(self._bought, minlength=items).double()
        self._known = torch.arange(items) if settings.unsold_negatives else counts.nonzero().squeeze(1)
        share = settings.popular_negatives
        chance = (1 - share) / len(self._known) + share * counts / counts.sum()
        # That an item is among the drawn at all: it may be drawn several times and counts once.
        inside = -torch.expm1(settings.negatives * torch.log1p(-chance.clamp(max=1 - 1e-9)))
        self._log_q = inside.log().float() if settings.log_q else torch.zeros(items)

    def draw(self, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Different items, ascending, and the logarithm of the probability of each to be among them."""
        popular = self._bought[torch.randint(len(self._bought), (self._popular,), generator=generator)]
        evenly = self._known[torch.randint(len(self._known), (self._count - self._popular,), generator=generator)]
        drawn = torch.unique(torch.cat([popular, evenly]))
        return drawn.to(self._device), self._log_q[drawn].to(self._device)


def _shares(counts: torch.Tensor) -> torch.Tensor:
    """For each entry of bags of so many entries: 1 over the bag's length."""
    return torch.repeat_interleave(1.0 / counts.clamp(min=1), counts)


def _groups(
    starts: torch.Tensor, length: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut every shopper's purchases into groups of `length`, from a random place on; the first may be shorter.

    Args:
        starts: as in `Purchases`.
        length: purchases of a group.
        generator: where the cuts lie differs from epoch to epoch.

    Returns:
        Shopper, start and end of each group, without empty ones.
    """
    counts = torch.diff(starts)
    shift = torch.randint(length, (len(counts),), generator=generator)
    groups = (counts + shift + length - 1) // length * (counts > 0)
    shoppers = torch.repeat_interleave(torch.arange(len(counts)), groups)
    number = torch.arange(len(shoppers)) - torch.repeat_interleave(torch.cumsum(groups, 0) - groups, groups)
    first = starts[shoppers] - shift[shoppers] + number * length
    begin = torch.maximum(first, starts[shoppers])
    end = torch.minimum(first + length, starts[shoppers + 1])
    whole = end > begin
    return shoppers[whole], begin[whole], end[whole]
