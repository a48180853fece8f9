"""`facings doctor`: every trap that this machine can show, with the mend."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

import click

from cli.output import json_option, settings_of, show
from configs.errors import FacingsError
from configs.settings import Settings
from configs.telemetry import QUIET

_ROOT = Path(__file__).resolve().parents[1]
_LOCK = _ROOT / "requirements.lock"
_INSTALL = "run `make clean install`"
_FREE_BYTES = 3 * 1024**3


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, how it stands, and what to do about it."""

    check: str
    status: Literal["ok", "note", "fault"]
    found: str
    mend: str | None = None


@click.command(epilog="Example: facings doctor --json   or, after a retraining: facings doctor --parity")
@click.option("--parity", is_flag=True, help="Only compare the features that training sees with those that serve.")
@json_option
@click.pass_context
def doctor(context: click.Context, parity: bool, as_json: bool) -> None:
    """Check versions, ports, stores, secrets and telemetry, and say how to mend each fault. Changes nothing.

    With --parity it compares, as of now, the features of up to 1,000 keys of each view in the offline store, which
    training reads, with those in the online store: equal to 1e-6, or a fault that names view and feature.

    Exit code 1 when there is a fault; a note is something to know that stops nothing.
    """
    settings = settings_of(context)
    if parity:
        findings = list(_parity(settings))
    else:
        findings = [finding for check in _CHECKS for finding in _guarded(check, settings)]
    marks = {"ok": "ok   ", "note": "note ", "fault": "FAULT"}
    lines = [
        f"{marks[one.status]} {one.check}: {one.found}" + (f"\n        mend: {one.mend}" if one.mend else "")
        for one in findings
    ]
    faults = sum(one.status == "fault" for one in findings)
    lines.append(f"{faults} fault(s)" if faults else "No fault found.")
    show({"faults": faults, "findings": [asdict(one) for one in findings]}, lines, as_json=as_json)
    if faults:
        context.exit(1)


def _guarded(check: Callable[[Settings], Iterator[Finding]], settings: Settings) -> list[Finding]:
    """A check that itself fails is a fault, not the end of the doctor."""
    try:
        return list(check(settings))
    except FacingsError as error:
        return [Finding(check.__name__.strip("_"), "fault", str(error))]
    except Exception as error:
        what = f"the check itself failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        return [Finding(check.__name__.strip("_"), "fault", what, _INSTALL)]


def _python(_: Settings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    right = sys.version_info[:2] == (3, 11)
    mend = "install Python 3.11, then " + _INSTALL
    yield Finding("Python", "ok" if right else "fault", version, None if right else mend)
    there = next((tool for tool in ("cc", "gcc", "clang") if shutil.which(tool)), None)
    mend = "install gcc or clang: LightFM is compiled when it is installed anew"
    yield Finding("C compiler", "ok" if there else "note", there or "none", None if there else mend)


def _versions(_: Settings) -> Iterator[Finding]:
    """What is installed is what the lock file names; a resolver left alone walks back to ancient releases."""
    installed = {_plain(one.metadata["Name"]): one.version for one in metadata.distributions()}
    locked = _locked(_LOCK.read_text()) if _LOCK.exists() else {}
    other = {name: (version, installed.get(name)) for name, version in locked.items() if installed.get(name) != version}
    if not locked:
        yield Finding("versions", "note", "there is no requirements.lock beside this installation")
    elif not other:
        yield Finding("versions", "ok", f"all {len(locked)} packages are those of requirements.lock")
    for name, (wanted, have) in sorted(other.items()):
        yield Finding("versions", "fault", f"{name} is {have or 'missing'}, the lock names {wanted}", _INSTALL)
    yield from _traps(installed)


def _traps(installed: Mapping[str, str]) -> Iterator[Finding]:
    """Combinations that are known to fail, told by what happens; they matter where the lock file was not used."""
    floors = {"feast": (0, 67), "mlflow": (3, 17), "prefect": (3, 8)}
    for name, floor in floors.items():
        if name in installed and _numbers(installed[name])[:2] < floor:
            why = f"{name} {installed[name]}: a resolver fell back behind {'.'.join(map(str, floor))}"
            yield Finding("trap", "fault", why, _INSTALL)
    if _numbers(installed.get("pandas", "2"))[:1] >= (3,):
        yield Finding("trap", "fault", "pandas 3: feast 0.67 needs pandas below 3", _INSTALL)
    if _numbers(installed.get("fastapi", "0.150"))[:2] >= (0, 151):
        why = f"fastapi {installed['fastapi']}: prefect's server fails at import with releases after 0.150"
        yield Finding("trap", "fault", why, _INSTALL)
    if "lightfm" in installed or "lightfm-next" in installed:
        why = "another build of LightFM is installed beside rectools-lightfm and shadows it"
        yield Finding("trap", "fault", why, "pip uninstall lightfm lightfm-next, then " + _INSTALL)
    rival = [name for name in ("opencv-python", "opencv-contrib-python") if name in installed]
    if rival:
        why = f"{rival[0]} overwrites files of opencv-python-headless"
        yield Finding("trap", "fault", why, f"pip uninstall {rival[0]}, then " + _INSTALL)
    old_opencv = _numbers(installed.get("opencv-python-headless", "5"))[:1] < (5,)
    if old_opencv and _numbers(installed.get("numpy", "2"))[:2] > (2, 2):
        yield Finding("trap", "fault", "OpenCV 4 holds numpy below 2.3", _INSTALL)


def _telemetry(_: Settings) -> Iterator[Finding]:
    wrong = [name for name, value in QUIET.items() if os.environ.get(name) != value]
    found = "off in every library that would call home" if not wrong else f"{', '.join(wrong)} not set"
    yield Finding(
        "telemetry", "fault" if wrong else "ok", found, "start through the command `facings`" if wrong else None
    )


def _mlflow_store(settings: Settings) -> Iterator[Finding]:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri and uri != settings.tracking_uri:
        why = "MLFLOW_TRACKING_URI is set; Facings follows FACINGS_MLFLOW_URI and uses its own store"
        yield Finding("MLflow", "note", why, "set FACINGS_MLFLOW_URI where that server is meant")
    if settings.tracking_uri.startswith(("file:", "/", ".")):
        why = "MLflow keeps no runs in plain files any more"
        yield Finding("MLflow", "fault", why, "set FACINGS_MLFLOW_URI to sqlite:///… or to a server")


def _address(settings: Settings) -> Iterator[Finding]:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            mend = "stop what uses it, or set FACINGS_PORT (a running `facings serve` is fine)"
            yield Finding("port", "note", f"{settings.host}:{settings.port} cannot be bound ({error.strerror})", mend)
        else:
            yield Finding("port", "ok", f"{settings.host}:{settings.port} is free")


def _home(settings: Settings) -> Iterator[Finding]:
    root = settings.paths.root
    place = root if root.exists() else next(parent for parent in root.parents if parent.exists())
    if not os.access(place, os.W_OK):
        yield Finding("home", "fault", f"{place} cannot be written", "set FACINGS_HOME to a folder that can")
        return
    free = shutil.disk_usage(place).free
    low = free < _FREE_BYTES
    found = f"{root} ({'exists' if root.exists() else 'not made yet'}), {free / 1024**3:.0f} GiB free"
    yield Finding("home", "note" if low else "ok", found, "free some space: the demo needs 3 GiB" if low else None)
    for file in sorted(settings.paths.secrets.iterdir()) if settings.paths.secrets.is_dir() else ():
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            yield Finding("secrets", "fault", f"{file} can be read by others", f"chmod 600 {file}")


def _stores(settings: Settings) -> Iterator[Finding]:
    """What is there can be read; nothing is created."""
    from pipelines import snapshot
    from pipelines.signals.lake.lake import Lake

    if not settings.paths.root.is_dir():
        return
    if settings.state_url is not None or settings.paths.state_db.exists():
        from state.engine import open_engine

        open_engine(settings.state_uri).dispose()
        yield Finding("state database", "ok", "answers")
    tables = Lake(settings.paths).tables()
    mend = None if tables else "run `facings ingest`"
    yield Finding("lake", "ok" if tables else "note", ", ".join(tables) or "empty", mend)
    for kind in ("shop", "slates"):
        name = snapshot.current(settings.paths, kind)
        if name is None:
            mend = "run `facings ingest`" if kind == "shop" else "run `facings retrain`"
            yield Finding(f"{kind} snapshot", "note", "none yet", mend)
        else:
            snapshot.check(settings.paths, kind, name)
            yield Finding(f"{kind} snapshot", "ok", f"{name} is whole")


def _feast(_: Settings) -> Iterator[Finding]:
    """Feast imports by bare name every file that .feastignore does not list."""
    folder = _ROOT / "features"
    listed = set((folder / ".feastignore").read_text().split()) if (folder / ".feastignore").exists() else set()
    loose = {path.name for path in folder.glob("*.py")} - listed - {"definitions.py", "__init__.py"}
    mend = "add them to features/.feastignore"
    found = (
        f"{', '.join(sorted(loose))} would be registered twice" if loose else "reads definitions.py and nothing else"
    )
    yield Finding("Feast repository", "fault" if loose else "ok", found, mend if loose else None)


def _parity(settings: Settings) -> Iterator[Finding]:
    """Seconds, as Feast is imported: only when it is asked for."""
    from pipelines.signals.feature_store.parity import parity

    now = settings.clock().now()
    for one in parity(settings, clock=settings.clock()):
        at = f"{one.moment:%Y-%m-%d %H:%M} UTC"
        mend = None
        found = f"{one.compared:,} keys compared as of {at if one.expired else 'now'}, worst difference {one.worst:.2g}"
        if not one.agrees:
            found = (
                f"{one.differ:,} of {one.compared:,} keys differ between training and serving, {one.feature} most; "
                f"{one.missing:,} are missing online, worst difference {one.worst:.2g}"
            )
            mend = f"bring the newest features online: facings backfill --from {one.moment.isoformat()} "
            mend += f"--to {one.moment.isoformat()}"
            if one.moment > now:
                mend = f"serving knows what happened up to {at}, which is later than now: set FACINGS_REPLAY_FROM to it"
        elif one.expired:
            found += "; they are past their time to live, so that now both stores answer with nothing"
            mend = "run `facings retrain` with newer data (or set FACINGS_REPLAY_FROM to serve the past)"
        status: Literal["ok", "note", "fault"] = "fault" if not one.agrees else "note" if one.expired else "ok"
        yield Finding(f"parity of {one.view}", status, found, mend)


def _faces(_: Settings) -> Iterator[Finding]:
    from identity.weights import sface, yunet

    yunet(), sface()
    yield Finding("face models", "ok", "YuNet and SFace are the files that were examined")


def _browser(_: Settings) -> Iterator[Finding]:
    names = ("chromium", "chromium-browser", "google-chrome")
    there = next((name for name in names if shutil.which(name)), None)
    mend = "install Chromium to run the browser tests; without it they skip"
    yield Finding("browser", "ok" if there else "note", there or "no Chromium", None if there else mend)


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _locked(text: str) -> dict[str, str]:
    pins = (line.partition("#")[0].strip() for line in text.splitlines())
    return {_plain(name): version for name, _, version in (pin.partition("==") for pin in pins) if version}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in takewhile(str.isdigit, version.split(".")))


_CHECKS = (_python, _versions, _telemetry, _mlflow_store, _address, _home, _stores, _feast, _faces, _browser)
