"""From similarities to decisions: the threshold's rule, the margin, and the frames of a track."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import FacingsError
from identity.gallery import Gallery, GallerySource
from identity.match import MARGIN, Decision, Status, TrackDecider, decide, threshold
from identity.template import check_model, unit
from identity.vault import Content, Enrolled

Vector = npt.NDArray[np.float32]
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment


def _axis(number: int) -> Vector:
    return np.eye(128, dtype=np.float32)[number]


def _toward(number: int, cosine: float, other: int = 100) -> Vector:
    """A unit vector with the given cosine to one axis; the rest points to `other`."""
    return unit(cosine * _axis(number) + np.sqrt(1.0 - cosine**2) * _axis(other))


def _gallery(**shoppers: Vector) -> Gallery:
    enrolled = [Enrolled(name, np.atleast_2d(rows), NOW) for name, rows in shoppers.items()]
    return Gallery(Content(np.eye(128, dtype=np.float32), enrolled), lambda _: True)


ADA_AND_BEN = _gallery(ada=_axis(0), ben=_axis(1))


# ---------------------------------------------------------------- threshold


def test_the_threshold_keeps_strangers_out_as_the_published_table_says() -> None:
    """FPIR of LFW by enrolled images (BENCHMARKS §8); the rule must lie where the table shows at most .5 %."""
    assert threshold(0) == threshold(180) == threshold(250) == 0.45
    assert 0.45 < threshold(1_000) < 0.50  # .45 greets 1.7 % of strangers, .50 greets .2 %
    assert threshold(4_199) > 0.50  # .50 greets .8 %
    assert threshold(2_500) == pytest.approx(0.50)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_the_threshold_never_falls_as_the_gallery_grows(one: int, other: int) -> None:
    assert (threshold(one) <= threshold(other)) or one > other


# ---------------------------------------------------------------- one photograph


def test_the_most_similar_shopper_above_the_threshold_is_known() -> None:
    assert decide(ADA_AND_BEN, _toward(0, 0.6), 1.0) == Decision(
        Status.KNOWN, "ada", pytest.approx(0.6, abs=1e-6), pytest.approx(0.6, abs=1e-6)
    )


def test_below_the_threshold_nobody_is_named_but_the_score_is() -> None:
    decision = decide(ADA_AND_BEN, _toward(0, 0.44), 1.0)
    assert (decision.status, decision.shopper_id) == (Status.UNKNOWN, None)
    assert decision.score == pytest.approx(0.44, abs=1e-6)


def test_two_shoppers_about_equally_similar_are_ambiguous_and_nobody_is_named() -> None:
    between = unit(_axis(0) + (1.0 - MARGIN / 2) * _axis(1))
    decision = decide(ADA_AND_BEN, between, 1.0)
    assert (decision.status, decision.shopper_id) == (Status.AMBIGUOUS, None)


def test_a_poor_picture_is_not_compared_at_all() -> None:
    assert decide(ADA_AND_BEN, _axis(0), 0.1) == Decision(Status.LOW_QUALITY)
    assert decide(ADA_AND_BEN, _axis(0), 0.2).status is Status.KNOWN


def test_with_nobody_enrolled_everybody_is_unknown() -> None:
    assert decide(_gallery(), _axis(0), 1.0) == Decision(Status.UNKNOWN)


@pytest.mark.parametrize(
    "vector", [np.zeros(128), np.full(128, np.nan), np.ones(127), np.ones((1, 128)), np.full(128, np.inf)]
)
def test_what_is_no_embedding_is_refused_in_a_sentence(vector: Vector) -> None:
    with pytest.raises(FacingsError, match="embedding"):
        decide(ADA_AND_BEN, vector, 1.0)


def test_an_embedding_of_another_model_is_refused_by_name() -> None:
    with pytest.raises(FacingsError, match="arcface"):
        check_model("arcface")


# ---------------------------------------------------------------- gallery


def test_a_shopper_counts_by_the_best_of_the_templates() -> None:
    gallery = _gallery(ada=np.stack([_axis(0), _axis(5), _axis(6)]), ben=_axis(1))
    found = gallery.search(_toward(5, 0.7, other=1))
    assert (found.shopper_id, gallery.templates, gallery.shoppers) == ("ben", 4, 2)
    assert found.runner_up == pytest.approx(0.7, abs=1e-6)


@given(st.integers(1, 40), st.integers(0, 10_000))
def test_the_search_agrees_with_a_search_by_hand(shoppers: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = {f"s{number}": random.normal(size=(random.integers(1, 5), 128)) for number in range(shoppers)}
    units = {name: np.stack([unit(row) for row in block]) for name, block in rows.items()}
    probe = unit(random.normal(size=128))
    found = _gallery(**units).search(probe)
    scores = sorted(((float((block @ probe).max()), name) for name, block in units.items()), reverse=True)
    assert found.score == pytest.approx(scores[0][0], abs=1e-5)
    assert found.shopper_id == scores[0][1]
    assert found.runner_up == pytest.approx(scores[1][0] if shoppers > 1 else 0.0, abs=1e-5)


def test_only_shoppers_of_the_store_with_a_consent_in_force_are_in_the_gallery() -> None:
    enrolled = [
        Enrolled("everywhere", _axis(0)[None], NOW),
        Enrolled("here", _axis(1)[None], NOW, ("s1", "s2")),
        Enrolled("elsewhere", _axis(2)[None], NOW, ("s2",)),
        Enrolled("withdrawn", _axis(3)[None], NOW),
        Enrolled("another model", _axis(4)[None], NOW, model="arcface"),
    ]
    content = Content(np.eye(128, dtype=np.float32), enrolled)
    here = Gallery(content, lambda shopper: shopper != "withdrawn", "s1")
    whole = Gallery(content, lambda shopper: shopper != "withdrawn")
    assert here.shoppers == 2
    assert whole.shoppers == 3
    assert here.search(_axis(2)).score == 0.0
    assert whole.search(_axis(2)).shopper_id == "elsewhere"
    assert whole.search(_axis(3)).score == 0.0


def test_a_gallery_is_loaded_again_only_after_a_change() -> None:
    generation, loads = [1], []

    def load() -> Gallery:
        loads.append(1)
        return _gallery()

    source = GallerySource(load, lambda: generation[0])
    assert source.current() is source.current()
    generation[0] = 2
    source.current()
    assert len(loads) == 2


# ---------------------------------------------------------------- frames of a track


def _decider(gallery: Gallery = ADA_AND_BEN) -> tuple[TrackDecider, Hand]:
    clock = Hand()
    return TrackDecider(lambda: gallery, clock, seconds=8.0), clock


def test_one_good_frame_decides() -> None:
    decider, _ = _decider()
    assert decider.observe("t", _toward(0, 0.46), 0.9).shopper_id == "ada"


def test_a_middling_frame_near_the_threshold_needs_a_second_that_agrees() -> None:
    decider, _ = _decider()
    assert decider.observe("t", _toward(0, 0.46), 0.3).status is Status.UNKNOWN
    assert decider.observe("t", _toward(0, 0.47), 0.3).shopper_id == "ada"
    assert decider.observe("other", _toward(0, 0.51), 0.3).shopper_id == "ada"  # clearly above: alone


def test_a_stranger_gets_no_new_chance_with_each_frame() -> None:
    decider, _ = _decider()
    for cosine in (0.40, 0.38, 0.46, 0.41, 0.47, 0.39):
        assert decider.observe("t", _toward(0, cosine), 0.9).status is Status.UNKNOWN


def test_a_known_shopper_stays_known_a_little_below_the_threshold() -> None:
    decider, _ = _decider()
    statuses = [decider.observe("t", _toward(0, cosine), 0.9).status for cosine in (0.5, 0.41, 0.41, 0.42, 0.42)]
    assert statuses == [Status.KNOWN] * 5
    for _ in range(5):
        last = decider.observe("t", _toward(0, 0.35), 0.9)
    assert last.status is Status.UNKNOWN


def test_somebody_else_in_the_same_track_starts_afresh() -> None:
    decider, _ = _decider()
    for _ in range(5):
        assert decider.observe("t", _toward(0, 0.9, other=101), 0.9).shopper_id == "ada"
    assert decider.observe("t", _toward(1, 0.9, other=102), 0.9).shopper_id == "ben"
    assert decider.observe("t", _axis(50), 0.9).shopper_id is None


def test_frames_of_low_quality_or_without_life_are_left_out() -> None:
    decider, _ = _decider()
    assert decider.observe("t", _axis(0), 0.05).status is Status.LOW_QUALITY
    assert decider.observe("t", _axis(0), 0.9, liveness=0.1).status is Status.LOW_QUALITY
    assert decider.observe("t", _axis(0), float("nan")).status is Status.LOW_QUALITY
    assert decider.observe("t", _axis(0), 0.9, liveness=0.8).shopper_id == "ada"
    assert decider.observe("t", _axis(1), 0.05).shopper_id == "ada"


def test_a_shopper_who_was_forgotten_meanwhile_is_named_no_more() -> None:
    galleries = [ADA_AND_BEN]
    decider = TrackDecider(lambda: galleries[0], Hand())
    assert decider.observe("t", _axis(0), 0.9).shopper_id == "ada"
    galleries[0] = _gallery(ben=_axis(1))
    assert decider.observe("t", _axis(0), 0.05).shopper_id is None
    assert decider.observe("t", _axis(0), 0.9).shopper_id is None


def test_a_track_is_forgotten_when_it_leaves_and_when_it_was_not_seen() -> None:
    decider, clock = _decider()
    decider.observe("t", _toward(0, 0.46), 0.3)
    assert decider.leave("t")
    assert not decider.leave("t")
    decider.observe("t", _toward(0, 0.46), 0.3)
    clock.moment += timedelta(seconds=8.1)
    assert decider.observe("t", _toward(0, 0.46), 0.3).status is Status.UNKNOWN  # the first frame again
    assert len(decider) == 1


def test_no_flood_of_tracks_fills_the_memory() -> None:
    decider, _ = _decider()
    for number in range(3_000):
        decider.observe(str(number), _axis(0), 0.9)
    assert len(decider) == 1024
