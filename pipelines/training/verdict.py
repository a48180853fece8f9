"""From the measured candidates of one run to one decision, and from the decision to a registered version."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version as package_version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from configs.recipe import Recipe, load_recipe
from configs.settings import Settings
from pipelines.offers.value.kept import ValueFacts, read_facts
from pipelines.training.candidates import (
    CHAMPION_LABEL,
    evaluation_folder,
    read_evidence,
    read_shoppers,
    read_summary,
    serving_folder,
    value_folder,
)
from pipelines.training.checks import Evidence, Ground, run_checks
from pipelines.training.dataset import FEATURE_SERVICE
from pipelines.training.evaluate import Test
from pipelines.training.gate import Check, GateDecision, Kind, decide, with_checks
from pipelines.training.gate_page import differences_plot, report_page, split_sentence
from pipelines.training.model_card import model_card
from pipelines.training.plan import BASELINES, STAND_IN, Candidate, Plan, Role, commit, model_fingerprint
from pipelines.training.plots import standalone
from pipelines.training.promote import REFUSED
from pipelines.training.slices import ITEM_SLICES
from pipelines.training.tracking import (
    CHALLENGER,
    JOB,
    MAIN,
    METRIC,
    Tracking,
    Version,
    parameters_of,
    write_recipe,
)
from state.files import write_atomic

DECISION_FILE, REPORT_FILE = "decision.json", "report.html"
PASSED = "passed"


ByLog = Callable[[Candidate], list[Check]]
"""Checks a candidate by the decisions that were logged."""


class Verdict(BaseModel):
    """The decisions of one run, and the candidate that they are about in the end."""

    model_config = ConfigDict(frozen=True)

    chosen: str
    passed: bool
    decisions: dict[str, GateDecision]
    notes: tuple[str, ...] = ()

    @property
    def gate(self) -> GateDecision:
        """The decision on the chosen candidate."""
        return self.decisions[self.chosen]

    @property
    def reasons(self) -> list[str]:
        """Why it came so: the run's own notes, then the sentences of the decision."""
        return [*self.notes, *self.gate.reasons]

    @property
    def summary(self) -> str:
        """One line for the ledger."""
        gate = self.gate
        return (
            f"{gate.kind}: {gate.metric} {gate.mean_challenger:.4f} against {gate.mean_champion:.4f} "
            f"({gate.interval[0]:+.4f} to {gate.interval[1]:+.4f})"
        )


def judge(plan: Plan, folder: Path, test: Test, by_log: ByLog | None = None) -> Verdict:
    """Put what could be published through the gate, and choose one.

    What passes so far is looked at `by_log` as well. The best replacement that passes is chosen; else the refreshed
    champion; where nothing passes, the one that came nearest is set aside as the challenger. Where nothing ever served
    and nothing passes, popularity is published.
    """
    labels = [candidate.label for candidate in plan.candidates]
    found = {label: read_evidence(folder, label) for label in [*labels, *([CHAMPION_LABEL] if plan.champion else [])]}
    ground = Ground(cut=plan.cut, newest=test.newest.to_pydatetime(), sales=test.sales, rules=plan.rules.gate)
    tried = [
        candidate
        for candidate in plan.candidates
        if candidate.role is Role.CHALLENGER or (candidate.role is Role.REFRESHED and plan.refresh)
    ]
    replacements = sum(candidate.role is Role.CHALLENGER for candidate in tried) if plan.champion else 1
    decisions = {candidate.label: _decide(plan, candidate, found, ground, replacements) for candidate in tried}
    for candidate in tried if plan.champion is not None else ():
        if by_log is not None and decisions[candidate.label].passed:
            decisions[candidate.label] = with_checks(decisions[candidate.label], by_log(candidate))
    notes: tuple[str, ...] = ()
    if plan.champion is None and not any(decision.passed for decision in decisions.values()):
        # A shop's first run must leave something that serves: best-sellers, until a better model passes.
        stand_in = next(candidate for candidate in plan.candidates if candidate.label == _popularity(plan))
        why = (f"{label}: {reason}" for label, decision in decisions.items() for reason in decision.reasons[:1])
        notes = (*why, f"{stand_in.label} serves until a better model passes")
        decisions[stand_in.label] = _decide(plan, stand_in, found, ground, replacements)
    ranked = sorted(
        decisions,
        key=lambda label: (
            decisions[label].passed,
            decisions[label].kind is not Kind.REFRESH,
            decisions[label].mean_challenger,
        ),
    )
    verdict = Verdict(chosen=ranked[-1], passed=decisions[ranked[-1]].passed, decisions=decisions, notes=notes)
    write_atomic(folder / DECISION_FILE, verdict.model_dump_json(indent=1))
    return verdict


def register(settings: Settings, tracking: Tracking, plan: Plan, verdict: Verdict) -> Version:
    """Track the run and register the chosen candidate as a version; done again, it finds what is there.

    The report goes to the home's reports as well.
    """
    folder = plan.folder(settings.paths)
    candidate = next(candidate for candidate in plan.candidates if candidate.label == verdict.chosen)
    metrics = summaries(plan, folder)
    page = report_page(plan, verdict.decisions, verdict.chosen, metrics)
    write_atomic(report_path(settings, plan), page)
    value = value_folder(folder, candidate.label)
    facts = read_facts(value)
    card = _card(plan, folder, candidate, verdict.gate, metrics, facts)
    tags = _tags(plan, candidate, verdict)
    at_ms = int(plan.at.timestamp() * 1000)
    run_id = tracking.run_for(plan.key, f"{candidate.label} {plan.end:%Y-%m-%d}", tags, at_ms=at_ms)
    if not tracking.finished(run_id):
        with tempfile.TemporaryDirectory() as scratch:
            papers = Path(scratch)
            _write_papers(papers, candidate.recipe, verdict, page, card)
            tracking.log(
                run_id,
                parameters=parameters_of(candidate.recipe, cut=plan.cut.isoformat(), end=plan.end.isoformat()),
                metrics=_metric_values(metrics, verdict, facts),
                tags=tags,
                artifacts={
                    "evaluation": evaluation_folder(folder, candidate.label),
                    "serving": serving_folder(folder, candidate.label),
                    **({"value": value} if facts is not None else {}),
                    "": papers,
                },
                at_ms=at_ms,
            )
    return tracking.register(run_id, tags, card)


def set_aside(tracking: Tracking, version: Version) -> None:
    """Let the alias challenger stand on a version that the gate refused."""
    tracking.alias(CHALLENGER, version.version)


def summaries(plan: Plan, folder: Path) -> dict[str, dict[str, float]]:
    """Return the metrics of every candidate by label, and of the champion's artifact where one serves."""
    labels = [candidate.label for candidate in plan.candidates]
    return {label: read_summary(folder, label) for label in [*labels, *([CHAMPION_LABEL] if plan.champion else [])]}


def report_path(settings: Settings, plan: Plan) -> Path:
    """Where the run's gate page lies."""
    return settings.paths.reports / f"retrain-{plan.key}.html"


def _decide(
    plan: Plan, candidate: Candidate, found: Mapping[str, Evidence], ground: Ground, replacements: int
) -> GateDecision:
    if plan.champion is None:
        kind, references = Kind.FIRST, [_popularity(plan)]
    elif candidate.role is Role.REFRESHED:
        kind, references = Kind.REFRESH, [CHAMPION_LABEL]
    else:
        refreshed = next(other.label for other in plan.candidates if other.role is Role.REFRESHED)
        kind, references = Kind.REPLACEMENT, [refreshed, CHAMPION_LABEL]
    return judge_one(
        kind,
        candidate.label,
        references,
        found,
        ground,
        baseline=any(model_fingerprint(candidate.recipe) == model_fingerprint(load_recipe(one)) for one in BASELINES),
        challengers=replacements,
        seed=plan.rules.seed,
    )


def judge_one(
    kind: Kind,
    label: str,
    references: Sequence[str],
    found: Mapping[str, Evidence],
    ground: Ground,
    *,
    baseline: bool = False,
    challengers: int = 1,
    seed: int = 0,
) -> GateDecision:
    """The whole gate for one candidate: the rule of its kind, the slices, the neighbourhoods and every check.

    Args:
        kind, challengers, seed: as in `gate.decide`.
        label: the candidate's.
        references: labels of what it is compared with, as in `gate.decide`.
        found: everything measured on the same shoppers, by label.
        ground: the run's.
        baseline: it is itself one of the counts by which others are measured.
    """
    ours = found[label]
    by_shopper = ours.frame.set_index("shopper_id")
    decision = decide(
        kind,
        ours.frame,
        {name: found[name].frame for name in references},
        slices=by_shopper["slice"],
        neighbourhoods=by_shopper["neighbourhood"],
        rules=ground.rules,
        challengers=challengers,
        seed=seed,
    )
    others = {name: one for name, one in found.items() if baseline or name != label}
    return with_checks(decision, run_checks(kind, ours, found[references[0]], others, ground))


def _popularity(plan: Plan) -> str:
    wanted = model_fingerprint(load_recipe(STAND_IN))
    return next(other.label for other in plan.candidates if model_fingerprint(other.recipe) == wanted)


def _tags(plan: Plan, candidate: Candidate, verdict: Verdict) -> dict[str, str]:
    services = FEATURE_SERVICE if candidate.recipe.data.shopper_features else "none"
    return {
        "recipe": candidate.recipe.name,
        "fingerprint": candidate.recipe.fingerprint,
        "key": plan.key,
        "asked": plan.asked,
        "data": plan.data,
        "code": plan.code,
        "commit": commit() or "none",
        "package": package_version("facings"),
        "split": f"known before {plan.cut.isoformat()}, tested to {plan.end.isoformat()}",
        "feature_service": services,
        "kind": str(verdict.gate.kind),
        "gate": PASSED if verdict.passed else REFUSED,
        JOB: "retrain",
        METRIC: f"{verdict.gate.metric}@{plan.rules.split.k}",
    }


def _card(
    plan: Plan,
    folder: Path,
    candidate: Candidate,
    gate: GateDecision,
    metrics: dict[str, dict[str, float]],
    value: ValueFacts | None,
) -> str:
    frame = read_shoppers(folder, candidate.label)
    means = frame.groupby("slice")[gate.metric].agg(["size", "mean"])
    slices = [(name, int(means.loc[name, "size"]), float(means.loc[name, "mean"])) for name in means.index]
    for name, what in ITEM_SLICES.items():
        if f"{name}_ndcg" in frame.columns:
            known = frame[f"{name}_ndcg"].dropna()
            slices.append((f"{what} (ndcg)", len(known), float(known.mean())))
    return model_card(
        candidate.recipe,
        data=plan.data,
        split=f"{split_sentence(plan)} The serving artifact was fit on everything before {plan.end:%Y-%m-%d %H:%M}.",
        metrics=metrics[candidate.label],
        slices=slices,
        metric=gate.metric,
        verdict=[
            f"Gate ({gate.kind}): {'passed' if gate.passed else 'refused'}.",
            "",
            *(f"- {reason}" for reason in gate.reasons),
            *_told_of_value(value),
        ],
    )


def _told_of_value(facts: ValueFacts | None) -> list[str]:
    if facts is None:
        return []
    if not facts.trained:
        return ["", f"Value model: none, {facts.why}."]
    figures = (f"- {name}: {value:.4g}" for name, value in facts.metrics.items())
    return ["", "Value model, trained on what was known at the cut and judged on what followed:", "", *figures]


def _metric_values(
    metrics: dict[str, dict[str, float]], verdict: Verdict, facts: ValueFacts | None
) -> dict[str, float]:
    values = {f"{label}.{name}": value for label, own in metrics.items() for name, value in own.items()}
    values |= {f"value.{name}": value for name, value in ({} if facts is None else facts.metrics).items()}
    gate = verdict.gate
    values |= {
        MAIN: gate.mean_challenger,
        "gate.difference": gate.difference,
        "gate.lower": gate.interval[0],
        "gate.upper": gate.interval[1],
    }
    return {name: value for name, value in values.items() if value == value}  # MLflow's SQL store keeps no NaN


def _write_papers(folder: Path, recipe: Recipe, verdict: Verdict, page: str, card: str) -> None:
    write_recipe(folder, recipe)
    (folder / "gate").mkdir()
    (folder / "gate" / DECISION_FILE).write_text(verdict.model_dump_json(indent=1))
    (folder / "gate" / REPORT_FILE).write_text(page)
    (folder / "plots").mkdir()
    (folder / "plots" / "differences.svg").write_text(standalone(differences_plot(verdict.decisions)))
    (folder / "model-card.md").write_text(card)
