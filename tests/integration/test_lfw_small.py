"""The published set of faces: every probe found, no stranger greeted; and the demonstration's portrait among them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from configs.clock import SystemClock
from configs.settings import Settings
from identity.gallery import Gallery
from identity.images import Picture, read_picture
from identity.match import Status, TrackDecider
from identity.reader import FaceReader
from pipelines.demo_photograph import enrol_picture, probe_picture
from pipelines.faces import enrol, gallery_source, identify, open_consents

pytestmark = pytest.mark.published_data


@pytest.fixture(scope="module")
def reader() -> FaceReader:
    return FaceReader(threads=1)


@pytest.fixture(scope="module")
def photographs(published_data: Path) -> dict[str, list[tuple[str, Path]]]:
    """(identity, file) by role: enrol, probe, impostor."""
    folder = published_data / "lfw_small"
    if not (folder / "manifest.tsv").is_file():
        pytest.skip("no lfw_small among the published data")
    roles: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for line in (folder / "manifest.tsv").read_text().splitlines()[1:]:
        role, identity, file = line.split("\t")
        roles[role].append((identity, folder / file))
    return roles


@pytest.fixture(scope="module")
def gallery(
    reader: FaceReader,
    photographs: dict[str, list[tuple[str, Path]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Gallery:
    """Sixty people enrolled from three photographs each, and the portrait of the demonstration."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    consents = open_consents(settings)
    by_person: dict[str, list[tuple[str, Picture]]] = defaultdict(list)
    for person, path in photographs["enrol"]:
        by_person[person].append((path.name, read_picture(path)))
    by_person["astronaut"] = [("portrait", np.asarray(enrol_picture())[:, :, ::-1].copy())]
    for person, pictures in by_person.items():
        enrol(settings.paths, consents, reader, pictures, shopper_id=person, clock=SystemClock())
    return gallery_source(settings.paths, consents).current()


def test_every_probe_is_found_and_nobody_is_taken_for_another(
    reader: FaceReader, photographs: dict[str, list[tuple[str, Path]]], gallery: Gallery
) -> None:
    answers = {path.name: identify(read_picture(path), reader, gallery) for _, path in photographs["probe"]}
    wrong = [path.name for person, path in photographs["probe"] if answers[path.name].shopper_id != person]
    assert (len(answers), wrong) == (120, [])


def test_no_stranger_is_greeted(
    reader: FaceReader, photographs: dict[str, list[tuple[str, Path]]], gallery: Gallery
) -> None:
    strangers = [path for role, rows in photographs.items() if role not in {"enrol", "probe"} for _, path in rows]
    statuses = {path.name: identify(read_picture(path), reader, gallery).status for path in strangers}
    assert len(statuses) == 120
    assert {name for name, status in statuses.items() if status is not Status.UNKNOWN} == set()


def test_one_frame_of_a_track_is_decided_as_a_photograph_is(
    reader: FaceReader, photographs: dict[str, list[tuple[str, Path]]], gallery: Gallery
) -> None:
    decider = TrackDecider(lambda: gallery, SystemClock())
    for person, path in photographs["probe"][:20]:
        described = reader.subject(read_picture(path))
        assert not isinstance(described, Status)
        decision = decider.observe(path.name, described.embedding, described.quality)
        assert decision.shopper_id == person


def test_the_demonstrations_probe_is_recognised_among_them(reader: FaceReader, gallery: Gallery) -> None:
    picture = np.asarray(probe_picture())[:, :, ::-1].copy()
    assert identify(picture, reader, gallery).shopper_id == "astronaut"
