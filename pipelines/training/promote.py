"""Publish a version, take it back, and know which one is in force.

The pointer to the current slates snapshot is the truth; it is switched in one step. The ledger and MLflow's aliases
follow it: each publish and rollback first repairs what a job that was killed left behind (`reconcile`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from configs.clock import Clock
from configs.errors import FacingsError
from configs.recipe import Recipe
from configs.settings import Settings
from models.registry import load
from pipelines import snapshot
from pipelines.training.tracking import CHALLENGER, CHAMPION, Tracking, Version
from state.engine import open_engine
from state.files import exclusive
from state.ledger import Action, Deployment, Ledger, Status

KEEP_SNAPSHOTS = 3  # of the versions last in force, so that a rollback is a switch and not a build
REFUSED = "refused"
_NOTHING = "Nothing is published yet; train with `facings retrain` first."


@dataclass(frozen=True)
class Champion:
    """The version in force: its recipe, its two artifacts (folders for `models.registry.load`) and its tags."""

    version: str
    run_id: str
    recipe: Recipe
    evaluation: Path
    serving: Path
    tags: dict[str, str]
    deployment: Deployment


def open_ledger(settings: Settings) -> Ledger:
    """Open the ledger in the state database."""
    return Ledger(open_engine(settings.state_uri))


def champion(settings: Settings, tracking: Tracking | None = None) -> Champion | None:
    """Return the version that serves now, found by the snapshot pointer; None: nothing was ever published.

    Raises:
        FacingsError: its artifacts are gone, or MLflow does not answer.
    """
    deployment = in_force(settings, open_ledger(settings))
    if deployment is None:
        return None
    tracking = tracking or Tracking(settings)
    version = tracking.version(deployment.version)
    return Champion(
        version=version.version,
        run_id=version.run_id,
        recipe=tracking.recipe(version.run_id),
        evaluation=tracking.artifact(version.run_id, "evaluation"),
        serving=tracking.artifact(version.run_id, "serving"),
        tags=version.tags,
        deployment=deployment,
    )


def deployments(settings: Settings) -> list[Deployment]:
    """Return what served when, the newest first."""
    return open_ledger(settings).history()


def in_force(settings: Settings, ledger: Ledger) -> Deployment | None:
    """Return the deployment whose snapshot the pointer names."""
    current = snapshot.current(settings.paths, "slates")
    return None if current is None else ledger.of_snapshot(current)


def publishing_lock(settings: Settings) -> Path:
    """The lock file of the short time in which a pointer is switched and written down."""
    return settings.paths.snapshots / "publish.lock"


def reconcile(settings: Settings, ledger: Ledger) -> Deployment | None:
    """Bring the ledger in line with the pointer; return the deployment in force. Call it under the publishing lock."""
    deployment = in_force(settings, ledger)
    ledger.settle(None if deployment is None else deployment.id)
    return None if deployment is None else ledger.get(deployment.id)


def publish(
    settings: Settings,
    tracking: Tracking,
    version: Version,
    *,
    action: Action,
    expected: str | None,
    reason: str,
    clock: Clock,
    progress: Callable[[str], None],
    value: Path | None = None,
) -> str:
    """Build the version's slates beside the current ones, check them, switch, and write it down; return the snapshot.

    Args:
        settings: names the home.
        tracking: holds the version's serving artifact.
        version: what to publish.
        action: publish or promote; rescore: the version goes on with newer odds.
        expected: the version that must still be in force (None: nothing); the decision was made against it.
        reason: one line for the ledger.
        clock: tells when.
        progress: told how far it is.
        value: folder of the odds; None: those that training wrote.

    Raises:
        FacingsError: another version came into force meanwhile, or the new slates do not pass their check; what serves
            stays as it is.
    """
    ledger = open_ledger(settings)
    recipe = tracking.recipe(version.run_id)
    built = _slates(settings, tracking, version, recipe, progress, value)
    with exclusive(publishing_lock(settings), "publish or rollback", wait=True):
        current = reconcile(settings, ledger)
        if (None if current is None else current.version) != expected:
            raise FacingsError(
                f"Version {current.version if current else 'none'} came into force while this job ran, instead of "
                f"{expected or 'none'}; run it again to be judged against that one."
            )
        if current is None or current.snapshot_id != built:
            deployment = ledger.begin(
                action,
                at=clock.now(),
                version=version.version,
                recipe=recipe.name,
                snapshot_id=built,
                previous=_back(current, action),
                reason=reason,
            )
            _switch(settings, ledger, deployment)
        _follow(tracking, version.version)
        _prune(settings, ledger)
    return built


def _back(current: Deployment | None, action: Action) -> int | None:
    """Where a rollback from what takes over returns to."""
    if current is None:
        return None
    return current.previous if action is Action.RESCORE else current.id


def rollback(
    settings: Settings,
    *,
    reason: str,
    expected: int | None = None,
    clock: Clock,
    progress: Callable[[str], None],
) -> Deployment:
    """Put the deployment before the current one back, and return the new row; rolled back again, it goes further.

    Args:
        settings: names the home.
        reason: one line for the ledger.
        expected: the deployment that must still be in force; None: whichever is.
        clock: tells when.
        progress: told how far it is.

    Raises:
        FacingsError: nothing serves, nothing served before, or another deployment than the expected one is in force.
    """
    ledger = open_ledger(settings)
    with exclusive(publishing_lock(settings), "publish or rollback", wait=True):
        current = reconcile(settings, ledger)
        if current is None:
            raise FacingsError(_NOTHING)
        if expected is not None and current.id != expected:
            raise FacingsError(f"Version {current.version} came into force meanwhile; it was not what was judged.")
        target = None if current.previous is None else ledger.get(current.previous)
        if target is None:
            raise FacingsError(
                f"Version {current.version} stays: nothing served before it, so there is nothing to roll back to."
            )
        built = target.snapshot_id
        if not _usable(settings, built):
            progress(f"The snapshot of version {target.version} is gone; building it again from its model")
            tracking = Tracking(settings)
            version = tracking.version(target.version)
            built = _slates(settings, tracking, version, tracking.recipe(version.run_id), progress)
        deployment = ledger.begin(
            Action.ROLLBACK,
            at=clock.now(),
            version=target.version,
            recipe=target.recipe,
            snapshot_id=built,
            previous=target.previous,
            reason=reason,
        )
        _switch(settings, ledger, deployment)
    progress(f"Version {target.version} serves again")
    try:
        _follow(Tracking(settings), target.version)
    except FacingsError as error:  # what serves is back; the aliases follow at the next run
        progress(f"MLflow's aliases stay as they were for now: {error}")
    return ledger.get(deployment.id) or deployment


def promote(
    settings: Settings, number: str, *, force: bool, clock: Clock, progress: Callable[[str], None]
) -> tuple[Version, str]:
    """Publish a registered version on a person's word; return it and its snapshot.

    Raises:
        UsageError: there is no such version.
        FacingsError: it serves already, or the gate refused it and `force` is false.
    """
    tracking = Tracking(settings)
    version = tracking.version(number)
    current = in_force(settings, open_ledger(settings))
    if current is not None and current.version == number:
        raise FacingsError(f"Version {number} serves already; `facings history` shows since when.")
    if version.tags.get("gate") == REFUSED and not force:
        raise FacingsError(f"The gate refused version {number}; see its report in MLflow, or insist with --force.")
    reason = f"promoted by hand{', though the gate refused it' if version.tags.get('gate') == REFUSED else ''}"
    expected = None if current is None else current.version
    built = publish(
        settings,
        tracking,
        version,
        action=Action.PROMOTE,
        expected=expected,
        reason=reason,
        clock=clock,
        progress=progress,
    )
    return version, built


def follow_pointer(settings: Settings, tracking: Tracking) -> Champion | None:
    """Repair what a killed job left: ledger and aliases from the pointer. Return the version in force."""
    ledger = open_ledger(settings)
    with exclusive(publishing_lock(settings), "publish or rollback", wait=True):
        current = reconcile(settings, ledger)
        if current is None:
            return None
        _follow(tracking, current.version)
    return champion(settings, tracking)


def _slates(
    settings: Settings,
    tracking: Tracking,
    version: Version,
    recipe: Recipe,
    progress: Callable[[str], None],
    value: Path | None = None,
) -> str:
    """Build and check the slates of a version; return the snapshot's id. One builds at a time, over dead drafts."""
    with exclusive(settings.paths.snapshots / "build.lock", "build of slates", wait=True):
        for draft in (settings.paths.snapshots / "slates").glob(".draft-*"):
            shutil.rmtree(draft)
        built = snapshot.build_slates(
            settings.paths,
            load(tracking.artifact(version.run_id, "serving")),
            version=version.version,
            recipe=recipe.name,
            candidates=recipe.slate.candidates,
            progress=progress,
            value=value or tracking.artifact_if_any(version.run_id, "value"),
        )
    snapshot.check(settings.paths, "slates", built)
    return built


def _usable(settings: Settings, snapshot_id: str) -> bool:
    try:
        snapshot.check(settings.paths, "slates", snapshot_id)
    except (FacingsError, OSError):
        return False
    return True


def _switch(settings: Settings, ledger: Ledger, deployment: Deployment) -> None:
    """The one atomic switch, then the ledger."""
    snapshot.switch(settings.paths, "slates", deployment.snapshot_id)
    ledger.settle(deployment.id)


def _follow(tracking: Tracking, number: str) -> None:
    """Let the aliases stand where the pointer does; a version is not its own challenger."""
    tracking.alias(CHAMPION, number)
    if CHALLENGER in tracking.version(number).aliases:
        tracking.alias(CHALLENGER, None)


def _prune(settings: Settings, ledger: Ledger) -> None:
    """Remove slates that neither serve nor are the newest of the versions that did last; they can be built again."""
    kept: dict[str, str] = {}
    for row in ledger.history():
        if row.status is not Status.ABANDONED:
            kept.setdefault(row.version, row.snapshot_id)
    snapshot.prune(settings.paths, "slates", keep=list(kept.values())[:KEEP_SNAPSHOTS])
