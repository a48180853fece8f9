"""Back-fills that die by SIGKILL at chosen steps and are run again; prints what each home answers in the end.

Run as a program: it imports Feast once and forks, so that a death costs no new start. A step is a write: of a part, of
a chunk of the online store, of the record.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import feast
import pandas as pd

import features.online
import pipelines.signals.feature_store.backfill
from configs.clock import FixedClock
from configs.settings import Settings, load_settings
from features import offline, repository
from features.store import FeatureStore
from pipelines.signals.lake.lake import Lake, Manifest, Part

FIRST, LAST, EVERY = (
    pd.Timestamp("2024-05-04", tz="UTC"),
    pd.Timestamp("2024-06-01", tz="UTC"),
    timedelta(days=14),
)
NOW = LAST + timedelta(days=1)
OLD = [("ann", "u", "2024-04-20"), ("bob", "v", "2024-05-10"), ("cy", "w", "2024-05-01"), ("cy", "u", "2024-05-28")]
NEW = [("ann", "u", "2024-04-20"), ("bob", "w", "2024-05-12"), ("dee", "v", "2024-05-02"), ("dee", "w", "2024-05-25")]
_STEPS = (
    (offline, "write_atomic"),
    (repository, "write_atomic"),
    (pipelines.signals.feature_store.backfill, "write_atomic"),
    (features.online, "drop_older"),
    (feast.FeatureStore, "write_to_online_store"),
)


def keep(settings: Settings, rows: list[tuple[str, str, str]]) -> Lake:
    """Make the lake hold just these purchases."""
    frame = pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"])
    frame["event_time"] = pd.to_datetime(frame["event_time"], utc=True).astype("datetime64[us, UTC]")
    lake, digest = Lake(settings.paths), int(pd.util.hash_pandas_object(frame).sum()) % 2**63
    (lake.folder / "interactions").mkdir(parents=True, exist_ok=True)
    frame = frame.assign(event_type="purchase", store_id="s", basket_id=frame["event_time"].astype(str), price=2.0)
    frame.to_parquet(lake.folder / f"interactions/{digest}.parquet")
    part = Part(file=f"interactions/{digest}.parquet", rows=len(rows), digest=digest)
    lake.commit(Manifest(tables={"interactions": (part,)}))
    return lake


def fill(settings: Settings, lake: Lake, start: pd.Timestamp = FIRST, end: pd.Timestamp = LAST) -> Any:
    """Back-fill the window."""
    return pipelines.signals.feature_store.backfill.backfill(
        settings,
        lake,
        start=start.to_pydatetime(),
        end=end.to_pydatetime(),
        every=EVERY,
        clock=FixedClock(NOW.to_pydatetime()),
        progress=lambda _: None,
    )


def answers(settings: Settings) -> dict[str, Any]:
    """What the home says, offline of each moment as known now, and online."""
    shoppers, items = ["ann", "bob", "cy", "dee"], ["u", "v", "w"]
    pairs = pd.MultiIndex.from_product([shoppers, items], names=["shopper_id", "item_id"]).to_frame(index=False)
    asked = {
        "shopper": pd.DataFrame({"shopper_id": shoppers}),
        "item": pd.DataFrame({"item_id": items}),
        "store": pd.DataFrame({"store_id": ["s"]}),
        "shopper_item": pairs,
    }
    moments = pd.DataFrame({"event_timestamp": pd.date_range(FIRST, LAST + EVERY, freq=timedelta(days=7))})
    store = FeatureStore(settings, clock=FixedClock(NOW.to_pydatetime()))
    said: dict[str, Any] = {}
    for service, keys in asked.items():
        said[service] = json.loads(store.online(service, keys).to_json())
        known = store.historical(keys.merge(moments, how="cross"), service, as_known="now")
        said[f"{service} of each moment"] = json.loads(known.to_json())
    store.close()
    return said


def in_a_child(work: Callable[[], Any]) -> Any:
    """Return what `work` gives in a process of its own; None where that died by SIGKILL."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            json.dump(work(), pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    if status:
        raise RuntimeError("a back-fill failed")
    return json.loads(text)


def counted(work: Callable[[], Any], dies_before: int = 0) -> int:
    """Do the work and return the number of steps; die before that one."""
    taken = 0

    def counting(step: Callable[..., Any]) -> Callable[..., Any]:
        def taking(*given: Any, **named: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken == dies_before:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*given, **named)

        return taking

    for place, name in _STEPS:
        setattr(place, name, counting(getattr(place, name)))
    work()
    return taken


def main(root: Path, deaths: int) -> None:
    """Print {clean, steps, killed: {step: answers}}; `deaths` of them, spread over the steps (0: at every step)."""

    def home(name: str) -> Settings:
        """A home in which the last two moments were computed before the data was corrected."""
        shutil.copytree(root / "before", root / name)
        settings = load_settings(home=root / name)
        keep(settings, NEW)
        return settings

    def filled(settings: Settings) -> dict[str, Any]:
        fill(settings, Lake(settings.paths))
        return answers(settings)

    clean, before = load_settings(home=root / "clean"), load_settings(home=root / "before")
    keep(clean, NEW)
    said: dict[str, Any] = {"clean": in_a_child(lambda: filled(clean)), "killed": {}}
    in_a_child(lambda: fill(before, keep(before, OLD), FIRST + EVERY).moments)
    counting = home("counting")
    steps = said["steps"] = in_a_child(lambda: counted(lambda: fill(counting, Lake(counting.paths))))
    for step in [steps * (n + 1) // (deaths + 1) for n in range(deaths)] or range(1, steps + 1):
        dying = home(f"step-{step}")
        assert in_a_child(lambda: counted(lambda: fill(dying, Lake(dying.paths)), step)) is None  # noqa: B023
        said["killed"][step] = in_a_child(lambda: filled(dying))  # noqa: B023
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
