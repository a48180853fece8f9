"""Runs and versions in MLflow. The only file that imports it, together with models/artifact.py.

A version of the registered model `facings` points at one run; the run carries two artifacts, `evaluation` (fit before
the cut) and `serving` (fit on everything), both folders of arrays and JSON. Nothing here pickles or logs code.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from pydantic import BaseModel, ConfigDict

from configs import telemetry
from configs.errors import FacingsError, UsageError
from configs.recipe import Recipe
from configs.settings import Settings
from state.files import build_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "facings"
CHAMPION, CHALLENGER = "champion", "challenger"
RECIPE_FILE = "recipe.json"
_KEY = "facings.key"


class Version(BaseModel):
    """One registered version; `tags` are those given to `register`."""

    model_config = ConfigDict(frozen=True)

    version: str
    run_id: str
    tags: dict[str, str]
    aliases: tuple[str, ...]


class Tracking:
    """MLflow's tracking store and model registry of one installation."""

    def __init__(self, settings: Settings) -> None:
        telemetry.turn_off()
        self._uri = settings.tracking_uri
        self._home = settings.paths
        self._local = self._uri.startswith("sqlite:")  # then artifacts lie in the home
        from mlflow.tracking import MlflowClient  # sets up its own logging, so before it is quietened

        with _answering(self._uri), _quiet():
            if self._local:
                self._home.root.mkdir(parents=True, exist_ok=True)
            self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
            self._experiment = self._experiment_id()

    # ------------------------------------------------------------------ runs

    def run_for(self, key: str, name: str, tags: Mapping[str, str], *, at_ms: int) -> str:
        """Return the id of the run that bears `key`; made when there is none, so that a job run again finds its own."""
        with _answering(self._uri), _quiet():
            found = self._client.search_runs([self._experiment], f"tags.`{_KEY}` = '{key}'", max_results=1)
            if found:
                return str(found[0].info.run_id)
            run = self._client.create_run(self._experiment, start_time=at_ms, run_name=name, tags={**tags, _KEY: key})
            return str(run.info.run_id)

    def finished(self, run_id: str) -> bool:
        """Tell whether everything of the run was logged."""
        with _answering(self._uri), _quiet():
            return bool(self._client.get_run(run_id).info.status == "FINISHED")

    def log(
        self,
        run_id: str,
        *,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        artifacts: Mapping[str, Path],
        at_ms: int,
    ) -> None:
        """Log everything of a run and finish it; logging the same again changes nothing.

        Args:
            run_id: the run.
            parameters: names and values; a value is cut at MLflow's 6,000 characters.
            metrics: names and values, sent in one call.
            tags: names and values.
            artifacts: artifact path (`` for the root) and the folder to copy there.
            at_ms: the metrics' time, milliseconds since 1970 (the same when the job is run again).
        """
        from mlflow.entities import Metric, Param, RunTag

        with _answering(self._uri), _quiet():
            for target, folder in artifacts.items():
                self._client.log_artifacts(run_id, str(folder), target or None)
            self._client.log_batch(
                run_id,
                metrics=[Metric(name, float(value), at_ms, 0) for name, value in sorted(metrics.items())],
                params=[Param(name, str(value)[:6000]) for name, value in sorted(parameters.items())],
                tags=[RunTag(name, value) for name, value in sorted(tags.items())],
            )
            self._client.set_terminated(run_id, "FINISHED", end_time=at_ms)

    # ------------------------------------------------------------------ versions

    def register(self, run_id: str, tags: Mapping[str, str], description: str) -> Version:
        """Make the run's version; the one it has already is returned as it is."""
        with _answering(self._uri), _quiet():
            self._model()
            found = self._client.search_model_versions(f"name = '{MODEL}' and run_id = '{run_id}'")
            if not found:
                source = f"runs:/{run_id}/serving"
                found = [
                    self._client.create_model_version(MODEL, source, run_id, tags=dict(tags), description=description)
                ]
            return self.version(str(found[0].version))

    def versions(self) -> list[Version]:
        """Every registered version, the newest first."""
        with _answering(self._uri), _quiet():
            found = self._client.search_model_versions(f"name = '{MODEL}'")
            stand = self._client.get_registered_model(MODEL).aliases if found else {}
        versions = [_version(one, stand) for one in found]
        return sorted(versions, key=lambda version: -int(version.version))

    def version(self, number: str) -> Version:
        """Return one version.

        Raises:
            UsageError: there is no such version.
        """
        for version in self.versions():
            if version.version == number:
                return version
        known = ", ".join(version.version for version in reversed(self.versions())) or "none yet"
        raise UsageError(f"There is no version {number!r} of the model; registered: {known}.")

    def tag(self, number: str, name: str, value: str) -> None:
        """Set one tag of a version."""
        with _answering(self._uri), _quiet():
            self._client.set_model_version_tag(MODEL, number, name, value)

    def alias(self, name: str, number: str | None) -> None:
        """Let the alias stand on this version, or on none."""
        with _answering(self._uri), _quiet():
            self._model()
            current = self._client.get_registered_model(MODEL).aliases.get(name)
            if number is not None and str(current) != number:
                self._client.set_registered_model_alias(MODEL, name, number)
            if number is None and current is not None:
                self._client.delete_registered_model_alias(MODEL, name)

    # ------------------------------------------------------------------ artifacts

    def artifact(self, run_id: str, path: str) -> Path:
        """Return a folder with one artifact of a run: in the home, or a copy there of what a server holds.

        Raises:
            FacingsError: the run has no such artifact.
        """
        folder = self._home.mlflow_artifacts / run_id / "artifacts" / path
        with _answering(self._uri), _quiet():
            if not self._local:
                folder = self._home.runs / "downloads" / run_id / path
                if not folder.exists():
                    build_folder(folder, lambda draft: self._download(run_id, path, draft))
        if not folder.is_dir():
            raise FacingsError(f"Run {run_id} has no artifact {path!r} in MLflow; train again with `facings retrain`.")
        return folder

    def recipe(self, run_id: str) -> Recipe:
        """Return the recipe that a run trained."""
        path = self.artifact(run_id, "recipe") / RECIPE_FILE
        return Recipe.model_validate(json.loads(path.read_text()))

    # ------------------------------------------------------------------ inner workings

    def _download(self, run_id: str, path: str, draft: Path) -> None:
        got = Path(self._client.download_artifacts(run_id, path, str(draft)))
        for entry in list(got.iterdir()):
            entry.rename(draft / entry.name)
        got.rmdir()

    def _experiment_id(self) -> str:
        """The experiment of this home. MLflow notes where artifacts lie for good: a home that moved gets a new one."""
        from mlflow.exceptions import MlflowException

        root = self._home.mlflow_artifacts.as_uri() if self._local else None
        found = self._client.get_experiment_by_name(MODEL)
        if found is not None and root is not None and found.artifact_location != root:
            self._client.rename_experiment(found.experiment_id, f"{MODEL} before {self._home.root}")
            found = None
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(MODEL, artifact_location=root))
        except MlflowException:  # another process was first
            return str(self._client.get_experiment_by_name(MODEL).experiment_id)

    def _model(self) -> None:
        """Make the registered model when it is not there; asked for first, as creating it anew is an error."""
        if not self._client.search_registered_models(f"name = '{MODEL}'"):
            self._client.create_registered_model(MODEL, description="What Facings serves; see docs/retraining.md.")


def _version(found: Any, stand: Mapping[str, str]) -> Version:
    number = str(found.version)
    aliases = tuple(sorted(alias for alias, version in stand.items() if str(version) == number))
    return Version(version=number, run_id=str(found.run_id), tags=dict(found.tags), aliases=aliases)


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    """Turn MLflow's and the database's errors into one sentence."""
    try:
        yield
    except FacingsError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"mlflow", "sqlalchemy", "alembic", "requests", "urllib3"}:
            raise
        text = " ".join(str(error).split())[:300]
        raise FacingsError(
            f"MLflow at {_without_password(uri)} could not do its part: {text}; check FACINGS_MLFLOW_URI."
        ) from None


def _without_password(uri: str) -> str:
    place = urlparse(uri)
    return uri.replace(f"{place.password}@", "***@") if place.password else uri


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's chatter (migrations, hints) off the standard output and the log."""
    names = ("mlflow", "alembic")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
