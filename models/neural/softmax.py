"""Sampled softmax in which all groups of a batch share the drawn items, with its gradients written out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import softplus

from models.neural.rows import Bags


@dataclass(frozen=True)
class Targets:
    """What was bought: one entry a purchase, group after group.

    Attributes:
        items: row of the item among the batch's items; shape (targets,).
        groups: the group that bought it; ascending, shape (targets,).
        weights: weight in the loss; shape (targets,).
    """

    items: torch.Tensor
    groups: torch.Tensor
    weights: torch.Tensor

    def of_groups(self, first: int, last: int) -> Targets:
        """Those of the groups from `first` to before `last`, numbered from 0."""
        bounds = torch.searchsorted(self.groups, torch.tensor([first, last], device=self.groups.device))
        part = slice(int(bounds[0]), int(bounds[1]))
        return Targets(self.items[part], self.groups[part] - first, self.weights[part])


@dataclass(frozen=True)
class Gradients:
    """The weighted sum of the losses and its gradients.

    Attributes:
        loss: shape (1,).
        scores: to each target's score; shape (targets,).
        groups: to each group's vector; shape (groups, components).
        drawn: to each drawn item's vector, without what it has as a target; shape (drawn, components).
    """

    loss: torch.Tensor
    scores: torch.Tensor
    groups: torch.Tensor
    drawn: torch.Tensor


def shared_softmax(
    groups: torch.Tensor,
    items: torch.Tensor,
    targets: Targets,
    drawn: torch.Tensor,
    log_q: torch.Tensor,
    *,
    half: bool,
) -> Gradients:
    """Loss -log(e^s / (e^s + sum over drawn j of e^(s_j - log q_j))) of each target with score s.

    A drawn item that the group bought in this batch is no negative of that group.

    Args:
        groups: vectors of the groups; float32, shape (groups, components).
        items: vectors of the batch's items; float32, shape (items, components).
        targets: what was bought.
        drawn: rows of the shared items, all different; shape (drawn,).
        log_q: logarithm of the probability that an item is among those drawn; zeros leave the correction out.
        half: whether the products with the drawn items are of bfloat16 numbers.
    """
    scores = (groups.index_select(0, targets.groups) * items.index_select(0, targets.items)).sum(dim=1)
    kind = torch.bfloat16 if half else torch.float32
    left, right = groups.to(kind), items.index_select(0, drawn).to(kind)
    logits = (left @ right.T).float().sub_(log_q)
    _without_bought(logits, targets, drawn, len(items))
    highest = logits.amax(dim=1, keepdim=True).clamp_(min=-1e30)
    masses = logits.sub_(highest).exp_()
    sums = masses.sum(dim=1, keepdim=True)
    beyond = (sums.log() + highest).squeeze(1).index_select(0, targets.groups) - scores
    loss = (softplus(beyond) * targets.weights).sum(dim=0, keepdim=True)
    to_scores = -torch.sigmoid(beyond) * targets.weights
    counts = torch.bincount(targets.groups, minlength=len(groups))
    every = torch.arange(len(to_scores), device=groups.device)
    pull = Bags.of(every, counts, -torch.ones_like(to_scores), len(every)).sum(to_scores[:, None])
    share = pull / sums.clamp_(min=1e-30)
    masses = masses.to(kind)
    to_groups = (masses @ right).float() * share
    to_groups += Bags.of(targets.items, counts, to_scores, len(items)).sum(items)
    to_drawn = (masses.T @ (groups * share).to(kind)).float()
    return Gradients(loss, to_scores, to_groups, to_drawn)


def _without_bought(logits: torch.Tensor, targets: Targets, drawn: torch.Tensor, items: int) -> None:
    """Set the scores of drawn items that a group bought to minus infinity, in place."""
    place = torch.full((items,), -1, dtype=torch.int64, device=logits.device)
    place[drawn] = torch.arange(len(drawn), device=logits.device)
    column = place.index_select(0, targets.items)
    hit = column >= 0
    logits[targets.groups[hit], column[hit]] = -torch.inf
