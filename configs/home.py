"""The folder where a chain's state lives (FACINGS_HOME): one place for each thing, so that two homes never meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """Paths below one root; nothing is created until somebody writes."""

    root: Path

    @property
    def lake(self) -> Path:
        """Ingested tables, as immutable parquet parts behind one manifest."""
        return self.root / "lake"

    @property
    def features(self) -> Path:
        """Feast's registry, offline parquet and the SQLite online store."""
        return self.root / "features"

    @property
    def quality(self) -> Path:
        """What the data looked like, lately and when it was last accepted."""
        return self.root / "quality"

    @property
    def runs(self) -> Path:
        """Work folders of training runs, named by content, so that a killed run can go on."""
        return self.root / "runs"

    @property
    def mlflow_db(self) -> Path:
        """MLflow's SQLite tracking and registry database."""
        return self.root / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """MLflow's artifact root."""
        return self.root / "mlflow-artifacts"

    @property
    def prefect(self) -> Path:
        """PREFECT_HOME for in-process runs."""
        return self.root / "prefect"

    @property
    def snapshots(self) -> Path:
        """Immutable snapshots that serving reads, and the pointers to the current ones."""
        return self.root / "snapshots"

    @property
    def state_db(self) -> Path:
        """SQLite database of what must never be lost."""
        return self.root / "state.db"

    @property
    def suspicions(self) -> Path:
        """Flags of rows that are hardly real, computed from the lake."""
        return self.root / "suspicions"

    @property
    def decisions_db(self) -> Path:
        """SQLite log of what was served, and of what each decision saw."""
        return self.root / "decisions.db"

    @property
    def stopped_experiments(self) -> Path:
        """Names of the experiments that were stopped."""
        return self.root / "stopped_experiments.json"

    @property
    def vault(self) -> Path:
        """Encrypted templates of faces, one file a shopper."""
        return self.root / "vault"

    @property
    def secrets(self) -> Path:
        """Secrets generated at first use, mode 0600."""
        return self.root / "secrets"

    @property
    def reports(self) -> Path:
        """Pages and plots for people."""
        return self.root / "reports"
