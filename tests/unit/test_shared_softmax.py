"""The gradients written by hand against those of automatic differentiation."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from models.neural.rows import Bags, RowAdagrad, Touched, gathered, ranges
from models.neural.softmax import Targets, shared_softmax

GROUPS, ITEMS, DRAWN, WIDTH = 5, 30, 12, 6


def problem() -> tuple[torch.Tensor, torch.Tensor, Targets, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(4)
    groups = torch.randn(GROUPS, WIDTH, generator=random)
    items = torch.randn(ITEMS, WIDTH, generator=random)
    of = torch.tensor([0, 0, 0, 1, 3, 3, 4])  # group 2 bought nothing
    targets = Targets(torch.tensor([3, 7, 3, 29, 0, 11, 5]), of, torch.rand(7, generator=random))
    drawn = torch.tensor([0, 2, 3, 8, 10, 11, 14, 15, 20, 21, 25, 28])
    return groups, items, targets, drawn, -torch.rand(DRAWN, generator=random)


def plain_loss(
    groups: torch.Tensor, items: torch.Tensor, targets: Targets, drawn: torch.Tensor, log_q: torch.Tensor
) -> torch.Tensor:
    """The loss as its docstring states it, target by target."""
    total = torch.zeros(())
    for item, group, weight in zip(targets.items, targets.groups, targets.weights, strict=True):
        own = targets.items[targets.groups == group]
        others = torch.tensor([n for n, row in enumerate(drawn) if row not in own])
        logits = (items[drawn[others]] @ groups[group]) - log_q[others]
        score = items[item] @ groups[group]
        total = total - weight * (score - torch.logsumexp(torch.cat([score[None], logits]), 0))
    return total


def test_loss_and_gradients_are_those_of_the_stated_loss() -> None:
    groups, items, targets, drawn, log_q = problem()
    groups.requires_grad_(True)
    items.requires_grad_(True)
    loss = plain_loss(groups, items, targets, drawn, log_q)
    loss.backward()
    found = shared_softmax(groups.detach(), items.detach(), targets, drawn, log_q, half=False)
    torch.testing.assert_close(found.loss[0], loss.detach())
    torch.testing.assert_close(found.groups, groups.grad)
    to_items = torch.zeros(ITEMS, WIDTH).index_add(0, drawn, found.drawn)
    to_items = to_items.index_add(0, targets.items, groups.detach()[targets.groups] * found.scores[:, None])
    torch.testing.assert_close(to_items, items.grad)


def test_bfloat16_products_change_the_gradients_by_a_percent_at_most() -> None:
    groups, items, targets, drawn, log_q = problem()
    exact = shared_softmax(groups, items, targets, drawn, log_q, half=False)
    rough = shared_softmax(groups, items, targets, drawn, log_q, half=True)
    for one, other in ((exact.groups, rough.groups), (exact.drawn, rough.drawn), (exact.loss, rough.loss)):
        assert float((one - other).norm() / one.norm()) < 0.01


@pytest.mark.parametrize("parts", [[0, 2, 5], [0, 0, 5], [0, 1, 3, 5]])
def test_parts_of_the_groups_sum_to_the_whole(parts: list[int]) -> None:
    groups, items, targets, drawn, log_q = problem()
    whole = shared_softmax(groups, items, targets, drawn, log_q, half=False)
    pieces = [
        shared_softmax(groups[first:last], items, targets.of_groups(first, last), drawn, log_q, half=False)
        for first, last in pairwise(parts)
    ]
    torch.testing.assert_close(torch.cat([piece.groups for piece in pieces]), whole.groups)
    torch.testing.assert_close(torch.cat([piece.scores for piece in pieces]), whole.scores)
    torch.testing.assert_close(sum(piece.drawn for piece in pieces), whole.drawn)


def test_an_extreme_score_gives_a_finite_loss_and_gradient() -> None:
    groups, items, targets, drawn, log_q = problem()
    found = shared_softmax(groups * 1e4, items * 1e4, targets, drawn, log_q, half=False)
    assert all(torch.isfinite(value).all() for value in (found.loss, found.scores, found.groups, found.drawn))


def test_bags_sum_rows_and_transposed_bags_give_their_gradient() -> None:
    random = torch.Generator().manual_seed(1)
    counts = torch.tensor([2, 0, 3, 1])
    bags = Bags.of(torch.tensor([4, 1, 0, 1, 4, 2]), counts, torch.rand(6, generator=random), 5)
    table = torch.randn(5, 3, generator=random, requires_grad=True)
    dense = torch.zeros(4, 5)
    bag_of = torch.repeat_interleave(torch.arange(4), counts)
    dense.index_put_((bag_of, bags.columns.long()), bags.weights, accumulate=True)
    out = dense @ table
    torch.testing.assert_close(bags.sum(table.detach()), out.detach())
    upstream = torch.randn(4, 3, generator=random)
    out.backward(upstream)
    torch.testing.assert_close(bags.transposed().sum(upstream), table.grad)


def test_row_adagrad_moves_a_row_by_its_own_mean_square_and_leaves_the_rest() -> None:
    table = RowAdagrad(torch.ones(3, 2), 0.5)
    gradient = torch.tensor([[3.0, 4.0]])
    table.step(torch.tensor([1]), gradient)
    table.step(torch.tensor([1]), gradient)
    pace = 0.5 / torch.tensor(12.5).sqrt() + 0.5 / torch.tensor(25.0).sqrt()
    torch.testing.assert_close(table.weights[1], 1 - pace * gradient[0])
    assert table.weights[[0, 2]].eq(1).all()
    assert table.trained()[[0, 2]].eq(0).all()


def test_touched_rows_ranges_and_gathered_sums_agree_with_plain_indexing() -> None:
    touched = Touched(torch.tensor([7, 2, 7, 5]), 9)
    assert touched.rows.tolist() == [2, 5, 7]
    assert touched.places(torch.tensor([7, 2, 5])).tolist() == [2, 0, 1]
    assert ranges(torch.tensor([3, 9, 4]), torch.tensor([5, 9, 7])).tolist() == [3, 4, 4, 5, 6]
    bags = gathered(torch.tensor([2, 0, 2]), torch.tensor([0, 1, 3]), torch.tensor([1.0, 2.0, 3.0]), 4, 5)
    table = torch.arange(5.0)[:, None]
    assert bags.sum(table)[:, 0].tolist() == [2.0, 0.0, 9.0, 0.0]
