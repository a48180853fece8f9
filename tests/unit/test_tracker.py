"""Which face is which, from frame to frame."""

from __future__ import annotations

import numpy as np
import pytest

from identity.detect import Face, subjects
from identity.track import Tracker, overlap


def _face(x: float, y: float = 0.0, side: float = 100.0) -> Face:
    return Face(np.array([x, y, side, side], np.float32), np.zeros((5, 2), np.float32), 0.9)


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(_face(0).box, _face(50).box) == pytest.approx(50 / 150)
    assert overlap(_face(0).box, _face(0).box) == 1.0
    assert overlap(_face(0).box, _face(200).box) == 0.0


def test_two_people_who_move_a_little_keep_their_tracks() -> None:
    tracker = Tracker()
    first, _ = tracker.update([_face(0), _face(300)], 0.0)
    second, ended = tracker.update([_face(310), _face(20)], 0.2)
    assert ended == []
    by_place = {float(track.face.box[0]): track.track_id for track in second}
    assert by_place[20.0] == first[0].track_id or by_place[20.0] == first[1].track_id
    assert set(by_place.values()) == {track.track_id for track in first}
    assert len(set(by_place.values())) == 2


def test_who_is_missed_for_a_moment_comes_back_and_who_is_gone_ends_once() -> None:
    tracker = Tracker(patience=1.0)
    (track,), _ = tracker.update([_face(0)], 0.0)
    assert tracker.update([], 0.5) == ([], [])
    (again,), _ = tracker.update([_face(5)], 0.9)
    assert again.track_id == track.track_id
    _, ended = tracker.update([], 2.0)
    assert [one.track_id for one in ended] == [track.track_id]
    assert tracker.update([], 3.0) == ([], [])
    assert tracker.end() == []


def test_somebody_at_another_place_is_a_new_track() -> None:
    tracker = Tracker()
    (one,), _ = tracker.update([_face(0)], 0.0)
    (other,), _ = tracker.update([_face(400)], 0.1)
    assert one.track_id != other.track_id
    assert len(tracker.end()) == 2


def test_the_face_in_the_middle_is_the_subject_and_those_beside_stand_by() -> None:
    picture = np.zeros((250, 250, 3), np.uint8)
    middle, beside = _face(75, 75), _face(0, 0, 70)
    assert subjects([middle, beside], picture) == [middle]


def test_two_faces_left_and_right_are_two_subjects() -> None:
    picture = np.zeros((250, 500, 3), np.uint8)
    assert len(subjects([_face(75, 75), _face(325, 75, 60)], picture)) == 2


def test_a_small_face_far_behind_is_nobody() -> None:
    picture = np.zeros((250, 500, 3), np.uint8)
    assert len(subjects([_face(75, 75), _face(400, 10, 20)], picture)) == 1
    assert subjects([], picture) == []


def test_a_face_much_larger_than_the_one_in_the_middle_is_a_subject_too() -> None:
    picture = np.zeros((250, 500, 3), np.uint8)
    assert len(subjects([_face(0, 20, 200), _face(200, 75, 110)], picture)) == 2
