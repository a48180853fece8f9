"""`facings evaluate-policy`: what another policy would have earned, from a log of decisions."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from cli.attribution import moment
from cli.output import json_option, progress, settings_of, show
from configs.errors import UsageError
from configs.policy import load_policy
from configs.settings import Settings


@click.command(
    epilog="Examples: facings evaluate-policy decisions.parquet --out evaluation.html;  "
    "facings evaluate-policy --model 12 --since 2026-05-01 --log-out may.parquet"
)
@click.argument("log", type=click.Path(path_type=Path), required=False)
@click.option("--model", metavar="VERSION", help="Instead of LOG: judge a model's slates from this home's decisions.")
@click.option("--policy", type=click.Path(path_type=Path), help="The same of these settings, as configs/policy.yaml.")
@click.option("--since", metavar="T", help="ISO time (UTC) of the first decision; default: a week before --until.")
@click.option("--until", metavar="T", help="ISO time (UTC), exclusive; default: now.")
@click.option(
    "--reward",
    type=click.Choice(["profit", "revenue", "purchase", "redemption"]),
    default="profit",
    show_default=True,
    help="What counts of what followed this home's decisions.",
)
@click.option("--log-out", type=click.Path(path_type=Path), help="Where to write the log itself (.parquet or .csv).")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write a page with a plot (.html).")
@click.option(
    "--gate",
    type=click.Choice(["replacement", "refresh"]),
    help="Say as well whether the policy may take over: it must earn more, or not less within the margin.",
)
@json_option
@click.pass_context
def evaluate_policy(
    context: click.Context, /, log: Path | None, out: Path | None, gate: str | None, as_json: bool, **of_home: Any
) -> None:
    """Judge a policy from LOG, which another policy wrote: IPS, SNIPS, direct, doubly robust and switch.

    LOG is parquet or CSV, a row for each action taken, with decision_id, action, propensity, reward and
    target_probability (of this action under the policy in question); optional are model_logged and model_target, what a
    reward model expects of the logged action and of the policy in question. A log with rows that do not hold is
    refused. Intervals hold 95 %; docs/evaluation.md says when to trust them.

    With --model or --policy the log is made of this home's own decisions, each taken again by what is in question, and
    of what followed them.
    """
    if out is not None and out.suffix != ".html":
        raise UsageError(f"--out {out} must end in .html.")
    own = of_home["model"] is not None or of_home["policy"] is not None
    if own == (log is not None):
        raise UsageError("Give either a LOG, or --model or --policy to judge from this home's own decisions.")
    if not own and (of_home["log_out"] is not None or of_home["since"] or of_home["until"]):
        raise UsageError("--since, --until and --log-out go with --model or --policy; a LOG is taken whole.")
    from pipelines.offers.evaluation.estimators import estimate
    from pipelines.offers.evaluation.page import evaluation_page, lines
    from pipelines.offers.evaluation.policy_log import read_log
    from state.files import write_atomic

    told: dict[str, Any] = {}
    if log is not None:
        table, about = read_log(log), f"The log is {log.name}."
    else:
        table, about, told = _of_home(settings_of(context), **of_home)
    found = estimate(table)
    if out is not None:
        write_atomic(out, evaluation_page(found, about))
    more = [*([about] if log is None else []), *([] if out is None else [f"The page is {out}."])]
    if gate is not None:
        from configs.recipe import GateRecipe
        from pipelines.training.gate import Kind
        from pipelines.training.policy_gate import judge_policy

        checks = judge_policy(Kind(gate), table, GateRecipe())
        passed = all(check.passed for check in checks)
        told["gate"] = {"kind": gate, "passed": passed, "checks": [check.model_dump() for check in checks]}
        more += [f"Gate ({gate}): {'passed' if passed else 'refused'}.", *(f"  {check.sentence}" for check in checks)]
    show({**found.told(), **told}, [*lines(found), *more], as_json=as_json)


def _of_home(
    settings: Settings,
    *,
    model: str | None,
    policy: Path | None,
    since: str | None,
    until: str | None,
    reward: Any,
    log_out: Path | None,
) -> tuple[Any, str, dict[str, Any]]:
    if log_out is not None and log_out.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"--log-out {log_out} must end in .csv or .parquet.")
    end = settings.clock().now() if until is None else moment("--until", until)
    start = end - timedelta(days=7) if since is None else moment("--since", since)
    if start >= end:
        raise UsageError(f"--since {start:%Y-%m-%d %H:%M} is not before --until {end:%Y-%m-%d %H:%M}.")
    from pipelines.offers.evaluation.logged import logged, slates_of
    from pipelines.offers.evaluation.policy_log import check_log
    from pipelines.training.batch import write_table

    slates = None if model is None else slates_of(settings, model)
    progress(f"taking the decisions from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} again")
    found = logged(
        settings,
        start,
        end,
        slates_id=slates,
        policy=None if policy is None else load_policy(policy),
        reward=reward,
    )
    if log_out is not None:
        write_table(found.table.to_pandas(), log_out)
    left = "".join(f", {count:,} left out: they {reason}" for reason, count in found.left_out.items())
    about = f"{found.decisions:,} decisions of this home were taken again{left}. The reward is {reward}."
    told = {"decisions_taken_again": found.decisions, "left_out": dict(found.left_out), "reward": reward}
    return check_log(found.table), about, told
