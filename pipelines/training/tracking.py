"""Runs and versions in MLflow. The only file that imports it, together with models/artifact.py.

A version of the registered model `facings` points at one run; the run carries two artifacts, `evaluation` (fit before
the cut) and `serving` (fit on everything), both folders of arrays and JSON. Nothing here pickles or logs code.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import yaml
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
# Tags by which `facings runs` tells runs: what made one, and what its metric MAIN is.
JOB, METRIC = "facings.job", "facings.metric"
MAIN = "main"
_KEY = "facings.key"
_PARENT = "mlflow.parentRunId"  # MLflow's own tag: its pages show such a run below its parent


class Version(BaseModel):
    """One registered version; `tags` are those given to `register`."""

    model_config = ConfigDict(frozen=True)

    version: str
    run_id: str
    tags: dict[str, str]
    aliases: tuple[str, ...]


class Run(BaseModel):
    """One tracked run, as `facings runs` lists it."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    job: str  # retrain, compare, tune, trial, benchmark
    name: str
    recipe: str | None
    at: datetime
    status: str
    metric: str | None
    value: float | None
    data: str | None
    code: str | None
    commit: str | None
    parent: str | None


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

    def run_for(self, key: str, name: str, tags: Mapping[str, str], *, at_ms: int, parent: str | None = None) -> str:
        """Return the id of the run that bears `key`; made when there is none, so that a job run again finds its own.

        Args:
            key: names the run by its content.
            name: for people.
            tags: of a new run.
            at_ms: when it began, milliseconds since 1970.
            parent: id of the run that this one belongs to.
        """
        own = {**tags, _KEY: key, **({_PARENT: parent} if parent else {})}
        with _answering(self._uri), _quiet():
            found = self._client.search_runs([self._experiment], f"tags.`{_KEY}` = '{key}'", max_results=1)
            if found:
                return str(found[0].info.run_id)
            run = self._client.create_run(self._experiment, start_time=at_ms, run_name=name, tags=own)
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
                metrics=[Metric(_plain(name), float(value), at_ms, 0) for name, value in sorted(metrics.items())],
                params=[Param(name, str(value)[:6000]) for name, value in sorted(parameters.items())],
                tags=[RunTag(name, value) for name, value in sorted(tags.items())],
            )
            self._client.set_terminated(run_id, "FINISHED", end_time=at_ms)

    def runs(self) -> list[Run]:
        """Every run of this home, the newest first, those that belong to another right after it.

        Runs from before the home moved are among them.
        """
        found: list[Any] = []
        with _answering(self._uri), _quiet():
            named = self._client.search_experiments(filter_string=f"name LIKE '{MODEL}%'")
            everywhere = [str(one.experiment_id) for one in named]
            token = None
            while True:
                page = self._client.search_runs(everywhere, max_results=1000, page_token=token)
                found += page
                token = page.token
                if not token:
                    break
        runs = sorted((_run(one) for one in found), key=lambda run: (run.at, run.run_id), reverse=True)
        children: dict[str | None, list[Run]] = {}
        known = {run.run_id for run in runs}
        for run in runs:
            children.setdefault(run.parent if run.parent in known else None, []).append(run)
        return [inner for run in children.get(None, []) for inner in (run, *reversed(children.get(run.run_id, [])))]

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

    def artifact_if_any(self, run_id: str, path: str) -> Path | None:
        """As `artifact`; None where the run has no such artifact."""
        with _answering(self._uri), _quiet():
            known = any(found.path == path for found in self._client.list_artifacts(run_id))
        return self.artifact(run_id, path) if known else None

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


def _plain(name: str) -> str:
    """A metric's name in the letters, digits and few signs that MLflow takes; a store may be called anything."""
    return re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII)


def _version(found: Any, stand: Mapping[str, str]) -> Version:
    number = str(found.version)
    aliases = tuple(sorted(alias for alias, version in stand.items() if str(version) == number))
    return Version(version=number, run_id=str(found.run_id), tags=dict(found.tags), aliases=aliases)


def _run(found: Any) -> Run:
    tags, metrics = found.data.tags, found.data.metrics
    return Run(
        run_id=str(found.info.run_id),
        job=tags.get(JOB, "retrain"),
        name=str(found.info.run_name),
        recipe=tags.get("recipe"),
        at=datetime.fromtimestamp(found.info.start_time / 1000, UTC),
        status=str(found.info.status).lower(),
        metric=tags.get(METRIC),
        value=metrics.get(MAIN),
        data=tags.get("data"),
        code=tags.get("code"),
        commit=tags.get("commit"),
        parent=tags.get(_PARENT),
    )


def tracked_before(settings: Settings) -> bool:
    """Whether there can be a run: a home's own database is made, at some cost, when a first run is tracked."""
    return (
        not settings.tracking_uri.startswith("sqlite:")
        or settings.paths.mlflow_db.exists()
        or settings.mlflow_uri is not None
    )


def parameters_of(recipe: Recipe, **more: object) -> dict[str, Any]:
    """The recipe with dotted names, as MLflow shows parameters, and `more`."""
    found: dict[str, Any] = dict(more)

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(f"{prefix}.{name}" if prefix else name, inner)
        else:
            found[prefix] = json.dumps(value) if isinstance(value, list) else value

    walk("", recipe.model_dump(mode="json"))
    return found


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Write the recipe into `folder`/recipe, for machines and for people."""
    target = folder / "recipe"
    target.mkdir()
    content = recipe.model_dump(mode="json")
    (target / RECIPE_FILE).write_text(json.dumps(content, indent=1))
    (target / f"{recipe.name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


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
