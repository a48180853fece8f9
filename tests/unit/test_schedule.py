"""The schedule is read whole or refused, and prefect.yaml says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from configs.errors import UsageError
from configs.schedule import load_schedule

ROOT = Path(__file__).resolve().parents[2]


def test_prefect_yaml_says_what_the_schedule_says() -> None:
    schedule = load_schedule()
    told = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    assert len(told["deployments"]) == len(schedule.deployments)
    for ours, theirs in zip(schedule.deployments, told["deployments"], strict=True):
        assert theirs["name"] == ours.name
        assert theirs["entrypoint"] == ours.entrypoint
        assert theirs["description"] == ours.description
        assert theirs["parameters"] == ours.parameters
        assert theirs["schedules"] == [{"cron": ours.cron, "timezone": ours.timezone}]
        assert theirs["work_pool"]["name"] == schedule.work_pool
        assert theirs["concurrency_limit"] == 1


def test_every_entrypoint_is_a_file_of_the_project() -> None:
    for deployment in load_schedule().deployments:
        assert (ROOT / deployment.entrypoint.partition(":")[0]).is_file()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("work_pool: p\ndeployments: []", "deployments"),
        ("extra: 1\nwork_pool: p\ndeployments: [{name: a, entrypoint: 'flows/a.py:f', cron: 0 3 * * *}]", "extra"),
        ("work_pool: p\ndeployments: [{name: a, entrypoint: 'flows/a.py:f', cron: daily}]", "cron"),
        (
            "work_pool: p\ndeployments: [{name: a, entrypoint: 'flows/a.py:f', cron: '0 3 * * *', timezone: Moon}]",
            "timezone",
        ),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_schedule_that_is_wrong_is_refused_with_the_key(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "schedule.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=word):
        load_schedule(path)


def test_a_schedule_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.yaml"):
        load_schedule(tmp_path / "nowhere.yaml")
