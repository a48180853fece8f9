"""What a shop says about its export, in one YAML: where the tables are, and what its names, values and times mean."""

from __future__ import annotations

import hashlib
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from configs.errors import UsageError
from pipelines.signals.contract.tables import EVENT_TYPES, RESERVED, TABLES

# Formats of times that are numbers since 1970.
SINCE_1970 = {"seconds": 1_000_000, "milliseconds": 1_000}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _as_text(value: Any) -> Any:
    """A code may be a number in YAML; true and false are refused, because `no` and `on` are read as such."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _codes(value: Any) -> Any:
    return {_as_text(key): inner for key, inner in value.items()} if isinstance(value, dict) else value


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CsvFormat(_Part):
    """How the CSV files are written."""

    separator: str = Field(",", min_length=1, max_length=1, pattern=r'^[^"\r\n]$')
    decimal: Literal[".", ","] = Field(".", description="the sign before the fraction of a number")
    encoding: Literal["utf-8", "latin-1", "cp1252", "iso8859-15"] = "utf-8"


class TableMapping(_Part):
    """Where one table is found and how it is read; `columns` maps our names to those of the export."""

    files: str | None = Field(None, description="files of the folder, e.g. sales-*.csv; default: the table's own name")
    query: str | None = Field(None, description="one SELECT of the database")
    columns: dict[str, str] = Field(default_factory=dict, description="our name: the export's name")
    leave_out: tuple[str, ...] = Field((), description="columns of the export that are not taken")
    constants: dict[str, str | int | float | bool] = Field(default_factory=dict, description="the same in every row")
    event_types: Annotated[dict[str, Literal[EVENT_TYPES]], BeforeValidator(_codes)] = Field(  # type: ignore[valid-type]
        default_factory=dict, description="the export's word: our event_type"
    )
    times: tuple[str, ...] | None = Field(None, description="formats of this table's times; default: those for all")

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.files is not None and (Path(self.files).is_absolute() or ".." in Path(self.files).parts):
            raise ValueError("files lie in the folder: write a path below it")
        for name in (*self.columns, *self.constants):
            if name.lower() in RESERVED:
                raise ValueError(f"{name} is a name that the lake keeps for itself")
        both = [name for name in self.constants if name in self.columns]
        if both:
            raise ValueError(f"{both[0]} is both a column and a constant")
        _check_times(self.times or ())
        return self


class Description(_Part):
    """A source of tables (a folder or a database) and its mapping; every part may be left out."""

    url: str | None = Field(None, description="SQLAlchemy URL; ${NAME} stands for an environment variable")
    folder: str | None = Field(None, description="folder of the files, from where this YAML lies")
    timezone: str = Field("UTC", description="zone of times that name none, e.g. Europe/Berlin")
    times: tuple[str, ...] = Field((), description="formats of times besides ISO 8601, e.g. %d.%m.%Y %H:%M")
    csv: CsvFormat = CsvFormat()
    tables: dict[str, TableMapping] = Field(default_factory=dict)

    @field_validator("tables", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        """A text in the place of a table's mapping is its query."""
        if not isinstance(value, dict):
            return value
        unknown = [name for name in value if name not in TABLES]
        if unknown:
            raise ValueError(f"there is no table {unknown[0]}; the tables are {', '.join(TABLES)}")
        return {name: {"query": inner} if isinstance(inner, str) else inner or {} for name, inner in value.items()}

    @model_validator(mode="after")
    def _holds(self) -> Self:
        if self.timezone not in available_timezones():
            raise ValueError(f"there is no time zone {self.timezone}; write e.g. Europe/Berlin")
        _check_times(self.times)
        if self.url is not None and self.folder is not None:
            raise ValueError("url and folder are both given; a source is one of them")
        for name, table in self.tables.items():
            if table.event_types and TABLES[name].column("event_type") is None:
                raise ValueError(f"tables.{name}: the table has no event_type")
            if table.query is not None and self.url is None:
                raise ValueError(f"tables.{name}: a query needs a url")
            if self.url is not None and (table.query is None or table.files is not None):
                raise ValueError(f"tables.{name}: with a url a table has a query and no files")
        return self

    def table(self, name: str) -> TableMapping:
        """The mapping of a table; an empty one where none is given."""
        return self.tables.get(name) or TableMapping()

    def times_of(self, name: str) -> tuple[str, ...]:
        """Formats of a table's times."""
        times = self.table(name).times
        return self.times if times is None else times

    def reading(self, name: str) -> str:
        """Hex digest of everything that decides how a file of this table is read."""
        table = self.table(name).model_dump_json(exclude={"files", "query", "times"})
        text = "\n".join([self.csv.model_dump_json(), self.timezone, *self.times_of(name), table])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def database_url(self) -> str:
        """The url, with environment variables in their places.

        Raises:
            UsageError: a variable is not set.
        """

        def value(found: re.Match[str]) -> str:
            if found[1] not in os.environ:
                raise UsageError(f"The url names the environment variable {found[1]}, which is not set; set it.")
            return os.environ[found[1]]

        return _VARIABLE.sub(value, self.url or "")


def load_description(path: Path) -> Description:
    """Read a description from a YAML file.

    Raises:
        UsageError: there is no such file, it is no YAML, or a key is unknown or wrong; the sentence names it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}; give the YAML that describes your tables.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text: {error}; give a YAML file.") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())[:300]}; correct the file.") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} must be a mapping with keys such as url, folder, timezone and tables.")
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        where = f"key `{key}`: " if key else ""
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{path}: {where}{said}; correct or remove it.") from None


def _check_times(formats: tuple[str, ...]) -> None:
    """Refuse a format that no moment survives."""
    moment = datetime(2026, 1, 31)
    for form in formats:
        if form in SINCE_1970:
            continue
        try:
            back = datetime.strptime(moment.strftime(form.replace("%:z", "%z")), form.replace("%:z", "%z"))
        except ValueError:
            back = None
        if back is None or back.replace(tzinfo=None) != moment:
            raise ValueError(
                f"{form!r} is no format of a time: write e.g. %d/%m/%Y, %d.%m.%Y %H:%M, seconds or milliseconds"
            )
