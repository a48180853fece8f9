"""What runs by itself, and when: configs/schedule.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator

from configs.yaml_file import read_model

SCHEDULE = Path(__file__).resolve().parent / "schedule.yaml"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Deployment(_Part):
    """One flow on a schedule."""

    name: str = Field(description="the deployment's name", pattern=r"^[a-z0-9-]+$")
    entrypoint: str = Field(description="file and flow, relative to the project", pattern=r"^flows/\w+\.py:\w+$")
    description: str = Field("", description="for Prefect's pages")
    cron: str = Field(description="five fields: minute, hour, day, month, weekday", pattern=r"^\S+( \S+){4}$")
    timezone: str = Field("UTC", description="in which the cron line is read")
    parameters: dict[str, Any] = Field(default_factory=dict, description="of the flow")

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name!r} is no time zone of the IANA database")
        return name


class Schedule(_Part):
    """All deployments, and the work pool whose workers run them."""

    work_pool: str = Field(pattern=r"^[a-z0-9-]+$")
    deployments: tuple[Deployment, ...] = Field(min_length=1)


def load_schedule(path: Path = SCHEDULE) -> Schedule:
    """Read the schedule.

    Raises:
        UsageError: the file is missing or no YAML, or a key is unknown or wrong; the sentence names it.
    """
    return read_model(Schedule, path, missing=f"There is no schedule at {path}; restore it from the project.")
