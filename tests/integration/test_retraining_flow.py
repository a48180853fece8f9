"""The flow that Prefect runs, the deployment that it schedules, and the verb that registers it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.errors import FacingsError
from configs.schedule import load_schedule
from configs.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def prefect() -> Iterator[None]:
    """A Prefect server of its own; it takes long to start, so once."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


def test_every_entrypoint_loads_the_flow_and_no_placeholder() -> None:
    from prefect.flows import load_flow_from_entrypoint

    for deployment in load_schedule().deployments:
        flow = load_flow_from_entrypoint(str(ROOT / deployment.entrypoint), use_placeholder_flow=False)
        assert flow.name == deployment.entrypoint.partition(":")[2]


def test_no_flow_file_bears_the_name_of_a_package_a_dependency_or_a_standard_module() -> None:
    from importlib.metadata import packages_distributions

    taken = (
        set(packages_distributions())
        | set(sys.stdlib_module_names)
        | {path.parent.name for path in ROOT.glob("*/__init__.py")}
    )
    assert not {path.stem for path in (ROOT / "flows").glob("*.py")} & taken


@pytest.mark.usefixtures("prefect")
def test_the_flow_runs_the_steps_as_tasks_and_returns_what_the_verb_prints(
    trained: Settings, towns: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.retraining import retrain

    monkeypatch.setenv("FACINGS_HOME", str(trained.home))
    result = retrain(folder=str(towns["late"]))
    assert (result["status"], result["version"]) == ("published", "2")
    assert {"ingest", "materialise", "gate", "publish"} <= result["timings"].keys()


@pytest.mark.usefixtures("prefect")
def test_a_failed_step_is_the_sentence_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.retraining import retrain

    monkeypatch.setenv("FACINGS_HOME", str(tmp_path / "home"))
    with pytest.raises(FacingsError, match="nowhere"):
        retrain(folder=str(tmp_path / "nowhere"))


@pytest.mark.usefixtures("prefect")
def test_deploy_registers_the_schedule_and_does_so_again_without_a_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    from flows.launch import register

    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    settings = load_settings(home=tmp_path / "home")
    first, again = (register(settings, load_schedule()) for _ in range(2))
    assert first == again
    with get_client(sync_client=True) as client:
        made = client.read_deployment_by_name("retrain/nightly")
    assert made.entrypoint == "flows/retraining.py:retrain"
    assert made.pull_steps == [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}]
    assert made.job_variables["env"]["FACINGS_HOME"] == str(settings.paths.root)
    assert [schedule.schedule.cron for schedule in made.schedules] == ["0 3 * * *"]


@pytest.mark.parametrize(
    ("address", "words"),
    [(None, "PREFECT_API_URL is not set"), ("http://127.0.0.1:9/api", "No Prefect server answers")],
)
def test_deploy_without_a_server_is_one_sentence_and_exit_code_1(
    tmp_path: Path, address: str | None, words: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"FACINGS_HOME": str(tmp_path), **({"PREFECT_API_URL": address} if address else {})}
    told = subprocess.run(
        [sys.executable, "-m", "cli.main", "deploy", "--json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 1
    assert told.stdout == ""
    assert words in told.stderr
    assert "Traceback" not in told.stderr


def test_the_verb_runs_the_flow_and_prints_one_json_object_and_nothing_else(
    trained: Settings, towns: dict[str, Path]
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    told = subprocess.run(
        [sys.executable, "-m", "cli.main", "retrain", "--json", "--folder", str(towns["late"])],
        cwd=ROOT,
        env={**environment, "FACINGS_HOME": str(trained.home), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["status"] == "published"
    assert "gate" in told.stderr
