"""Process settings: read from the environment (FACINGS_…) once, at the entry, and passed down."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from configs.clock import Clock, ReplayClock, SystemClock
from configs.errors import UsageError
from configs.guard import GuardRules
from configs.home import Home
from configs.suspicion import SuspicionRules


class Settings(BaseSettings):
    """Everything a process may be told from outside. Unknown FACINGS_ variables are ignored, wrong values refused."""

    model_config = SettingsConfigDict(env_prefix="FACINGS_", frozen=True, extra="ignore")

    home: Path = Field(Path("var"), description="folder of this installation's state")
    replay_from: datetime | None = Field(None, description="serve as if it were this moment (UTC), for historical data")
    currency: str = Field("USD", pattern="^[A-Z]{3}$", description="ISO 4217 code of prices without a currency")
    never_recommend: tuple[str, ...] = Field(
        ("FUEL", "MISCELLANEOUS", "COUPON"), description="roots of category paths that are never recommended"
    )
    clock_skew_seconds: float = Field(300.0, ge=0, description="how far in the future an event's time may lie")

    live_deadline_ms: float = Field(
        100.0, ge=0, description="how long a slate waits for what the shopper did since the last training to count"
    )
    live_shoppers: int = Field(
        100_000, ge=1, description="shoppers whose newest events a server holds in memory; of others it reads the disk"
    )
    live_features: Literal["on", "off"] = Field(
        "on", description="whether `facings serve` pushes live features into Feast's online store"
    )
    guard: GuardRules = Field(GuardRules(), description="when what serves is taken back by itself, as JSON")
    decision_days: int = Field(35, ge=1, description="how long a decision and what it saw are kept")
    attribution_days: float = Field(
        7.0, gt=0, description="a purchase counts for what was shown at most so long before it"
    )
    suspicion: SuspicionRules = Field(SuspicionRules(), description="what is flagged as fake, as JSON")
    session_idle_minutes: float = Field(
        30.0, gt=0, description="without an event for so long, a shopper's session ends"
    )
    quality_rules: Path | None = Field(None, description="YAML of the data checks; default: configs/quality.yaml")

    policy: Path | None = Field(None, description="YAML of how offers are decided; default: configs/policy.yaml")
    experiments: Path | None = Field(None, description="YAML of experiments; default: configs/experiments.yaml")

    state_url: str | None = Field(None, description="SQLAlchemy URL; default: SQLite in the home")
    mlflow_uri: str | None = Field(None, description="MLflow tracking URI; default: SQLite in the home")
    online_store: Literal["sqlite", "redis"] = Field("sqlite", description="Feast's online store")
    redis_url: str = Field("localhost:6379", description="Redis connection string, where online_store is redis")

    host: str = Field("127.0.0.1", description="address that `facings serve` binds")
    port: int = Field(8080, ge=1, le=65535, description="port that `facings serve` binds")
    public_url: str | None = Field(None, description="what QR codes carry; default: http://HOST:PORT")
    auth: Literal["auto", "required"] = Field("auto", description="auto: no token on loopback; required: always")
    sighting_seconds: float = Field(8.0, gt=0, description="a person not seen for so long has left the screen")
    picture_origins: tuple[Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.-]+(:\d{1,5})?$")], ...] = Field(
        (), description="where pages may load pictures from besides this server, such as https://pictures.example"
    )
    claim_minutes: float = Field(60.0, gt=0, description="how long a QR code on a screen can be opened")

    @property
    def paths(self) -> Home:
        """The home's folders, absolute, so that a change of directory does not move them."""
        return Home(self.home.expanduser().resolve())

    @property
    def state_uri(self) -> str:
        """SQLAlchemy URL of the state database."""
        return self.state_url or f"sqlite:///{self.paths.state_db}"

    @property
    def decisions_uri(self) -> str:
        """SQLAlchemy URL of the log of decisions: a file of its own, so that events never wait for it."""
        return self.state_url or f"sqlite:///{self.paths.decisions_db}"

    @property
    def tracking_uri(self) -> str:
        """MLflow tracking URI."""
        return self.mlflow_uri or f"sqlite:///{self.paths.mlflow_db}"

    def clock(self) -> Clock:
        """A new clock: the machine's, or a replay from the stated moment."""
        return ReplayClock(self.replay_from) if self.replay_from else SystemClock()


def load_settings(**overrides: object) -> Settings:
    """Build the settings from the environment; `overrides` win.

    Raises:
        UsageError: a variable holds a value that does not fit; the sentence names it.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except SettingsError as error:  # names the field, never the value
        raise UsageError(
            f"A setting is not the JSON that it should be: {error}; correct it in the environment."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        name = "FACINGS_" + "_".join(str(part) for part in first["loc"]).upper()
        raise UsageError(f"Setting {name} is not usable: {first['msg']}; correct it in the environment.") from None
