"""Experiments on the decision: configs/experiments.yaml, or the file that FACINGS_EXPERIMENTS names."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from configs.policy import OF_SERVER, OF_SHOP, PolicySettings
from configs.yaml_file import read_model

EXPERIMENTS = Path(__file__).resolve().parent / "experiments.yaml"
HOLDOUT_LAYER = "holdout"
_TOLERANCE = 1e-9

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,47}$")]
Moment = Annotated[
    datetime, AfterValidator(lambda time: time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC))
]


class Variant(BaseModel):
    """One arm of an experiment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(gt=0, le=1, description="part of the experiment's shoppers")
    policy: dict[str, Any] = Field({}, description="settings of configs/policy.yaml that this arm has otherwise")

    @field_validator("policy")
    @classmethod
    def _settings(cls, policy: dict[str, Any]) -> dict[str, Any]:
        if fixed := sorted((OF_SHOP | OF_SERVER) & policy.keys()):
            raise ValueError(f"{', '.join(fixed)}: the same for every shopper, so no variant can have it otherwise")
        try:
            PolicySettings.model_validate(policy)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
        return policy


class Experiment(BaseModel):
    """An experiment: which shoppers, from when, and what differs between its arms.

    Shoppers of [from, to) of its layer take part. Experiments of different layers are drawn independently of each
    other; those of one layer never share a shopper as long as their parts do not overlap.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    layer: Name = Field(description="name of the layer; its hash decides who takes part")
    start: float = Field(0.0, ge=0, lt=1, alias="from", description="begin of the part of the layer")
    end: float = Field(1.0, gt=0, le=1, alias="to", description="end of the part of the layer, exclusive")
    starts: Moment = Field(description="first moment; a time without a zone is UTC")
    ends: Moment | None = Field(None, description="end, exclusive; none: it runs until it is taken out")
    control: Name = Field(description="the variant that others are compared with")
    days: float = Field(7.0, gt=0, description="what a shopper does counts for so long after they first took part")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the intervals, over all looks and variants together")
    expected: int = Field(10_000, ge=100, description="shoppers at whose number the intervals shall be narrowest")
    variants: dict[Name, Variant] = Field(min_length=2)

    @model_validator(mode="after")
    def _holds(self) -> Experiment:
        if self.layer == HOLDOUT_LAYER:
            raise ValueError(f"the layer {HOLDOUT_LAYER} is the permanent holdout's; name another")
        if self.start >= self.end:
            raise ValueError(f"its part of the layer, from {self.start:g} to {self.end:g}, is empty")
        if self.ends is not None and self.ends <= self.starts:
            raise ValueError(f"it ends ({self.ends:%Y-%m-%d %H:%M}) before it starts ({self.starts:%Y-%m-%d %H:%M})")
        if self.control not in self.variants:
            raise ValueError(f"its control {self.control} is none of its variants ({', '.join(self.variants)})")
        total = sum(one.share for one in self.variants.values())
        if abs(total - 1) > _TOLERANCE:
            raise ValueError(f"the shares of its variants sum to {total:g}, not to 1")
        return self

    def changed(self) -> set[str]:
        """Settings of the policy that any of its variants sets."""
        return {key for one in self.variants.values() for key in one.policy}

    def runs(self, now: datetime) -> bool:
        """Whether it runs at a moment."""
        return self.starts <= now and (self.ends is None or now < self.ends)


class Experiments(BaseModel):
    """All experiments by name; the name seeds the draw of the variants, so a renamed experiment is drawn anew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiments: dict[Name, Experiment] = Field({})

    @model_validator(mode="after")
    def _apart(self) -> Experiments:
        """Of experiments at the same time, none wants another's shoppers or sets what another sets."""
        for (one, first), (other, second) in combinations(self.experiments.items(), 2):
            if (first.ends is not None and first.ends <= second.starts) or (
                second.ends is not None and second.ends <= first.starts
            ):
                continue
            if first.layer != second.layer:
                both = first.changed() & second.changed()
                if both:
                    raise ValueError(
                        f"{one} and {other} both set {', '.join(sorted(both))} for the same shoppers; use one layer"
                    )
            elif first.start < second.end and second.start < first.end:
                raise ValueError(f"{one} and {other} overlap in layer {first.layer}; give them other parts of it")
        return self


def load_experiments(path: Path | None = None) -> Experiments:
    """Read the experiments.

    Raises:
        UsageError: the file is missing or no YAML, or an experiment does not hold; the sentence names it.
    """
    place = path or EXPERIMENTS
    return read_model(Experiments, place, missing=f"There are no experiments at {place}; correct FACINGS_EXPERIMENTS.")
