"""Which shopper is in the permanent holdout and in which variant of each experiment: a keyed hash, nothing stored.

A shopper's pseudonym is a hash under the home's secret already; hashed again with a layer's name it tells where in
[0, 1) of this layer they stand. Hashes under different names are independent of each other, and so are the layers:
- the layer `holdout`: who stands below its share is never given a personal offer and is in no experiment. A larger
  share only adds to it, and nothing else moves anybody into it or out of it;
- the layer of an experiment: who stands within its part takes part;
- an experiment's name is a layer of its own that draws the variant, so that another experiment in the same part of
  the same layer later is drawn anew and does not inherit the arms of the one before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import Any

from configs.experiments import HOLDOUT_LAYER, Experiment, Experiments
from configs.policy import PolicySettings

_BITS = 53  # as many as a float holds exactly


@dataclass(frozen=True)
class Group:
    """What a shopper was assigned to.

    Attributes:
        holdout: in the permanent holdout: no personal offers.
        variants: experiment → variant, of the experiments that run and that the shopper takes part in.
    """

    holdout: bool = False
    variants: Mapping[str, str] = field(default_factory=dict)


NO_GROUP = Group()


def bucket(pseudonym: str, layer: str) -> float:
    """Where in [0, 1) of a layer somebody stands: uniform over shoppers, independent between layers."""
    digest = hashlib.blake2b(f"{layer}\0{pseudonym}".encode(), digest_size=8).digest()
    return float((int.from_bytes(digest, "big") >> (64 - _BITS)) / (1 << _BITS))


def in_holdout(pseudonym: str, share: float) -> bool:
    """Whether a shopper is in the permanent holdout of this share."""
    return bucket(pseudonym, HOLDOUT_LAYER) < share


def variant_of(pseudonym: str, name: str, experiment: Experiment) -> str | None:
    """The shopper's variant of an experiment, whenever it runs; None: they do not take part."""
    if not experiment.start <= bucket(pseudonym, f"layer:{experiment.layer}") < experiment.end:
        return None
    at = bucket(pseudonym, f"experiment:{name}")
    ends = accumulate(one.share for one in experiment.variants.values())
    names = list(experiment.variants)
    return next((variant for variant, end in zip(names, ends, strict=True) if at < end), names[-1])


def groups(pseudonym: str, settings: Experiments, *, holdout: float, now: datetime) -> Group:
    """Assign a shopper; the same every time, on every server of one home.

    Args:
        pseudonym: `state.forgotten.pseudonym`: under another secret everybody is drawn anew.
        settings: the experiments.
        holdout: share of the permanent holdout.
        now: experiments that do not run at this moment are left out.
    """
    if in_holdout(pseudonym, holdout):
        return Group(holdout=True)
    if not settings.experiments:
        return NO_GROUP
    drawn = {name: variant_of(pseudonym, name, one) for name, one in settings.experiments.items() if one.runs(now)}
    return Group(variants={name: variant for name, variant in drawn.items() if variant is not None})


def policy_of(group: Group, settings: Experiments, policy: PolicySettings) -> PolicySettings:
    """The policy that decides for a group: what its variants set (no two set the same key), else as it is."""
    changed: dict[str, Any] = {}
    for name, variant in group.variants.items():
        changed.update(settings.experiments[name].variants[variant].policy)
    return PolicySettings.model_validate({**policy.model_dump(), **changed}) if changed else policy
