"""Retraining from end to end: ingest, materialise, train, evaluate, gate, register, publish.

Plain functions; `flows/retraining.py` runs the same steps as tasks. Every step leaves its result in the run's work
folder under its final name only when it is whole, so a run that was killed goes on where it stopped, and a run that
ended is not done again.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from configs.clock import Clock
from configs.errors import FacingsError
from configs.recipe import Recipe
from configs.settings import Settings
from models.artifact import read_header
from pipelines.signals.quality.report import check_data, note_data, settle_data
from pipelines.signals.quality.store import DataReport, newest_report
from pipelines.snapshot import current
from pipelines.training.candidates import Bench, check, evaluation_folder
from pipelines.training.dataset import Moments, data_fingerprint, moments
from pipelines.training.gate import Check
from pipelines.training.intake import materialise_for, take_in, waiting
from pipelines.training.job import Job, Progress, RetrainResult, Step, plain
from pipelines.training.off_policy import judge_by_log
from pipelines.training.plan import (
    PLAN_FILE,
    RESULT_FILE,
    Candidate,
    Plan,
    Role,
    asked_key,
    code_digest,
    made_from,
    make_plan,
    recipes_asked,
    split_rules,
)
from pipelines.training.promote import Champion, follow_pointer, in_force, open_ledger, publish
from pipelines.training.tracking import Tracking, Version
from pipelines.training.verdict import Verdict, judge, register, report_path, set_aside, summaries
from state.files import exclusive, write_atomic
from state.ledger import Action, Status

LOCK = "retrain.lock"


class _Request(NamedTuple):
    """What a call asks for, and of what."""

    champion: Champion | None
    asked: list[Recipe]
    data: str
    code: str


def retrain(
    settings: Settings,
    references: Sequence[str] = (),
    *,
    folder: Path | None = None,
    accept_data: str | None = None,
    clock: Clock,
    progress: Progress,
    step: Step = plain,
) -> RetrainResult:
    """Retrain and, where the gate agrees, publish. Safe to kill at any moment and to run again.

    Args:
        settings: names the home.
        references: recipes to try; none: the champion's own, or the default where nothing serves.
        folder: a folder of tables to ingest first.
        accept_data: why data that the checks would stop is as it should be; None: it stops the run.
        clock: dates the run.
        progress: told how far it is.
        step: runs each step.

    Raises:
        UsageError: a recipe is unknown or wrong.
        FacingsError: there is no data, another retraining runs, or a store does not answer.
    """
    with exclusive(settings.paths.runs / LOCK, "retraining"):
        job = Job(settings, clock, progress, step)
        job.step("ingest", lambda: take_in(settings, folder, clock=clock, progress=progress))
        planned = job.step("plan", lambda: prepare(job, references))
        if isinstance(planned, RetrainResult):
            return planned
        data = job.step("check data", lambda: check_data(settings, job.lake, clock=clock, progress=progress))
        if data.stops and accept_data is None:
            return _stopped(job, planned, data)
        if data.stops and accept_data is not None:
            note_data(settings, data, accept_data, clock=clock)
        return _carry_out(job, planned, data)


def peek(settings: Settings, references: Sequence[str], *, clock: Clock, progress: Progress) -> RetrainResult | None:
    """Return what a run would say at once, because nothing new has come in; None: there is something to do.

    Raises:
        UsageError: a recipe is unknown or wrong.
        FacingsError: another retraining runs, or a store does not answer.
    """
    if waiting(settings):
        return None
    with exclusive(settings.paths.runs / LOCK, "retraining"):
        job = Job(settings, clock, progress, plain)
        request = _request(job, references)
        return _already(job, request)


def prepare(job: Job, references: Sequence[str]) -> Plan | RetrainResult:
    """Repair what a killed job left, and return what is to be done, or that nothing is."""
    request = _request(job, references)
    known = _already(job, request)
    if known is not None:
        return known
    champion, asked, data, code = request
    rules = split_rules(asked, champion)
    split = fair(moments(job.lake, rules.split), champion, rules.split.test_days)
    return _begun(job, make_plan(asked, champion, data=data, code=code, moments=split, at=job.clock.now()))


def fair(split: Moments, champion: Champion | None, test_days: int) -> Moments:
    """Move the cut up to the champion's, should it lie before: the champion must know nothing of the test window.

    Raises:
        FacingsError: the data ends so early that less than half of the window is left.
    """
    if champion is None:
        return split
    known = pd.Timestamp(read_header(champion.evaluation)["as_of"])
    if known <= split.cut:
        return split
    if split.end - known < pd.Timedelta(days=test_days) / 2:
        raise FacingsError(
            f"The data ends on {split.end:%Y-%m-%d}, and version {champion.version} knows it up to {known:%Y-%m-%d}: "
            "too little is left to judge a challenger by; ingest newer data."
        )
    return Moments(cut=known, end=split.end)


def _begun(job: Job, plan: Plan) -> Plan | RetrainResult:
    """Take up the run of this key: its recorded result, its plan (with the time it was first begun), or a new one."""
    folder = plan.folder(job.settings.paths)
    ended = folder / RESULT_FILE
    if ended.exists():
        result = RetrainResult.model_validate_json(ended.read_text())
        job.progress("The same data, recipes and champion were judged before; this is that decision.")
        return result.model_copy(update={"seconds": job.seconds, "timings": job.timings})
    begun = folder / PLAN_FILE
    if begun.exists():
        job.progress(f"Going on with run {plan.key}")
        return Plan.model_validate_json(begun.read_text())
    write_atomic(begun, plan.model_dump_json(indent=1))
    return plan


def _request(job: Job, references: Sequence[str]) -> _Request:
    champion = follow_pointer(job.settings, job.tracking)
    asked = recipes_asked(references, champion)
    for recipe in asked:
        check(recipe)
    learned = [*asked, *([champion.recipe] if champion else [])]
    return _Request(champion, asked, data_fingerprint(job.lake, learned, job.settings), code_digest())


def _already(job: Job, asked_for: _Request) -> RetrainResult | None:
    """Say `unchanged` when what would come out serves already, or was taken back by a person."""
    champion, asked, data, code = asked_for
    if champion is None:
        return None
    request = asked_key(asked, data, code)
    same = len(asked) == 1 and made_from(champion, asked[0], data, code)
    if champion.tags.get("asked") == request or same:
        reason = f"version {champion.version} serves and was made from the same data, recipe and code"
        return _unchanged(job, champion, reason)
    newest: dict[str, Status] = {}
    for row in open_ledger(job.settings).history():
        newest.setdefault(row.version, row.status)
    for version in job.tracking.versions():
        if version.tags.get("asked") == request and newest.get(version.version) is Status.ROLLED_BACK:
            reason = (
                f"version {version.version}, made from the same data, recipe and code, was rolled back; "
                f"`facings promote {version.version}` publishes it again"
            )
            return _unchanged(job, champion, reason)
    return None


def _unchanged(job: Job, champion: Champion, reason: str) -> RetrainResult:
    """Nothing to do; a job that was killed after it published may have left its models behind."""
    _drop_models(job.settings.paths.runs / champion.tags.get("key", ""))
    data = newest_report(job.settings.paths)
    if data is not None and data.lake == job.lake.fingerprint():
        settle_data(job.settings, job.lake, data, clock=job.clock, progress=job.progress)
    return RetrainResult(
        status="unchanged",
        version=champion.version,
        recipe=champion.recipe.name,
        gate=None,
        others={},
        metrics={},
        snapshot=champion.deployment.snapshot_id,
        reasons=[reason],
        report=None,
        data_report=None if data is None else data.page,
        run=champion.tags.get("key", ""),
        seconds=job.seconds,
        timings=job.timings,
    )


def _stopped(job: Job, plan: Plan, data: DataReport) -> RetrainResult:
    """The data is broken: nothing is trained, and what serves goes on serving."""
    job.progress("The data is broken; nothing is trained.")
    return RetrainResult(
        status="stopped",
        version=plan.champion,
        recipe=plan.rules.name,
        gate=None,
        others={},
        metrics={},
        snapshot=current(job.settings.paths, "slates"),
        reasons=[finding.sentence for finding in data.stops],
        report=None,
        data_report=data.page,
        run=plan.key,
        seconds=job.seconds,
        timings=job.timings,
    )


def _carry_out(job: Job, plan: Plan, data: DataReport) -> RetrainResult:
    """Do what is planned, step by step."""
    settings, folder = job.settings, plan.folder(job.settings.paths)
    job.step("materialise", lambda: materialise_for(settings, job.lake, plan, clock=job.clock, progress=job.progress))
    bench = Bench(settings, job.lake, plan, job.clock, job.progress)
    for candidate in plan.candidates:
        job.step(f"train {candidate.label}", partial(bench.evaluation, candidate))
    champion = None if plan.champion is None else _evaluation_of(job.tracking, plan.champion)
    if champion is not None:
        unread = job.step("measure champion", partial(bench.champion, champion))
        if unread is not None:
            job.progress(f"  its recipe trained anew stands in for the champion, which cannot be read: {unread}")
    job.step("measure costs", partial(bench.costs, champion))
    verdict = job.step("gate", lambda: judge(plan, folder, bench.test, partial(_by_log, job, plan)))
    for sentence in verdict.reasons:
        job.progress(f"  {sentence}")
    job.step(f"refit {verdict.chosen}", lambda: bench.serving(verdict.chosen))
    job.step("value", lambda: bench.value(verdict.chosen))
    _still_the_same(job, plan)
    version = job.step("register", lambda: register(settings, job.tracking, plan, verdict))
    snapshot = job.step("publish", lambda: _publish(job, plan, verdict, version)) if verdict.passed else None
    if not verdict.passed:
        set_aside(job.tracking, version)
    settle_data(settings, job.lake, data, clock=job.clock, progress=job.progress)
    return _finish(job, plan, verdict, version, snapshot, data)


def _by_log(job: Job, plan: Plan, candidate: Candidate) -> list[Check]:
    """What the decisions since the champion came into force say of a candidate that was fit before the cut."""
    ledger = open_ledger(job.settings)
    now = in_force(job.settings, ledger)
    value = None if now is None else job.tracking.artifact_if_any(job.tracking.version(now.version).run_id, "value")
    return judge_by_log(
        job.settings,
        evaluation_folder(plan.folder(job.settings.paths), candidate.label),
        candidate.recipe,
        plan.rules.gate,
        max(plan.cut, plan.cut if now is None else ledger.begun(now).at),
        plan.end,
        value=value,
        progress=job.progress,
    )


def _still_the_same(job: Job, plan: Plan) -> None:
    """A version's tags must be true of it.

    Raises:
        FacingsError: data came in while the candidates were trained.
    """
    learned = [candidate.recipe for candidate in plan.candidates if candidate.role is not Role.BASELINE]
    if data_fingerprint(job.lake, learned, job.settings) != plan.data:
        shutil.rmtree(plan.folder(job.settings.paths))
        raise FacingsError("Data was ingested while the candidates were trained; run `facings retrain` again.")


def _evaluation_of(tracking: Tracking, champion: str) -> Path:
    """The evaluation artifact of the version that was in force when the run was planned."""
    return tracking.artifact(tracking.version(champion).run_id, "evaluation")


def _publish(job: Job, plan: Plan, verdict: Verdict, version: Version) -> str:
    return publish(
        job.settings,
        job.tracking,
        version,
        action=Action.PUBLISH,
        expected=plan.champion,
        reason=verdict.summary,
        clock=job.clock,
        progress=job.progress,
    )


def _finish(
    job: Job, plan: Plan, verdict: Verdict, version: Version, snapshot: str | None, data: DataReport
) -> RetrainResult:
    """Record the result, and drop the models of this and of unfinished runs: what counts is in MLflow now."""
    folder = plan.folder(job.settings.paths)
    others = {label: decision for label, decision in verdict.decisions.items() if label != verdict.chosen}
    result = RetrainResult(
        status="published" if verdict.passed else "refused",
        version=version.version,
        recipe=version.tags["recipe"],
        gate=verdict.gate,
        others=others,
        metrics=_defined(summaries(plan, folder)),
        snapshot=snapshot,
        reasons=verdict.reasons,
        report=str(report_path(job.settings, plan)),
        data_report=data.page,
        run=plan.key,
        seconds=job.seconds,
        timings=job.timings,
    )
    write_atomic(folder / RESULT_FILE, result.model_dump_json(indent=1))
    for other in job.settings.paths.runs.iterdir():
        _drop_models(other)
    return result


def _defined(metrics: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """JSON has no NaN: a metric that is not defined on this data is null."""
    return {
        label: {name: value if math.isfinite(value) else None for name, value in own.items()}
        for label, own in metrics.items()
    }


def _drop_models(folder: Path) -> None:
    """Remove the models and measurements of a run's work folder; its plan and result stay."""
    if (folder / PLAN_FILE).is_file():
        for part in folder.iterdir():
            if part.is_dir():
                shutil.rmtree(part)
