"""`facings evaluate-policy`: what another policy would have earned, from a log of decisions."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import json_option, show
from configs.errors import UsageError


@click.command(epilog="Example: facings evaluate-policy decisions.parquet --out evaluation.html")
@click.argument("log", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where to write a page with a plot (.html).")
@json_option
def evaluate_policy(log: Path, out: Path | None, as_json: bool) -> None:
    """Judge a policy from LOG, which another policy wrote: IPS, SNIPS, direct, doubly robust and switch.

    LOG is parquet or CSV, a row for each action taken, with decision_id, action, propensity, reward and
    target_probability (of this action under the policy in question); optional are model_logged and model_target, what a
    reward model expects of the logged action and of the policy in question. A log with rows that do not hold is
    refused. Intervals hold 95 %; docs/evaluation.md says when to trust them.
    """
    if out is not None and out.suffix != ".html":
        raise UsageError(f"--out {out} must end in .html.")
    from pipelines.offers.evaluation.estimators import estimate
    from pipelines.offers.evaluation.page import evaluation_page, lines
    from pipelines.offers.evaluation.policy_log import read_log
    from state.files import write_atomic

    found = estimate(read_log(log))
    if out is not None:
        write_atomic(out, evaluation_page(found, f"The log is {log.name}."))
    show(found.told(), [*lines(found), *([] if out is None else [f"The page is {out}."])], as_json=as_json)
