"""`facings tune`: search a recipe's ranges on past validation windows. The only file that imports Optuna.

A study is named by recipe, ranges, data before the cut and code, and lies in SQLite in the home: a search that was
stopped goes on where it was, and gives what it would have given (each trial has its own seed). Every window is one
step; a trial whose mean so far lies below the median of the others is pruned.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from configs.clock import Clock
from configs.errors import FacingsError, UsageError
from configs.recipe import RangeRecipe, Recipe
from configs.settings import Settings
from models.registry import create
from pipelines.signals.lake.lake import Lake
from pipelines.training.dataset import moments
from pipelines.training.plan import code_digest
from pipelines.training.windows import Score, Validation, describe
from state.files import exclusive

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

_ERROR, _SHOPPERS, _CUT_OFF = "error", "shoppers", "cut_off"
_PATIENCE = 2  # a setting that brings the process down more often than this is not tried again
# Trials before the median prunes anything, and before the sampler models instead of drawing.
_STARTUP = 5


class TrialResult(BaseModel):
    """One setting that was tried: the mean of the metric after each window, so far as it came."""

    model_config = ConfigDict(frozen=True)

    number: int
    state: Literal["complete", "pruned", "failed"]
    value: float | None
    settings: dict[str, Any]
    windows: list[float]
    shoppers: list[int]
    error: str | None = None


class Search(BaseModel):
    """What a search came to; trials in the order in which they were tried."""

    model_config = ConfigDict(frozen=True)

    study: str
    recipe: Recipe
    metric: str
    windows: str
    data: str
    code: str
    trials: list[TrialResult]
    best: TrialResult
    own: TrialResult | None  # the recipe's own setting, where it lies in the ranges

    @property
    def tuned(self) -> Recipe:
        """The recipe with the best setting, ready to be compared and retrained."""
        config = with_settings(self.recipe.config, self.best.settings)
        return self.recipe.model_copy(update={"name": f"{self.recipe.name}-tuned", "config": config})


def tune(
    settings: Settings,
    recipe: Recipe,
    *,
    trials: int,
    timeout: float | None = None,
    clock: Clock,
    progress: Callable[[str], None],
) -> Search:
    """Search the recipe's ranges for the best mean of `gate.metric` over past windows; the test window is not read.

    Args:
        settings: names the home.
        recipe: with `ranges`.
        trials: how many settings the study holds in the end, those of earlier calls included.
        timeout: begin no trial after so many seconds.
        clock: of the feature store.
        progress: told of every trial.

    Raises:
        UsageError: the recipe names no ranges, or one that the recommender does not take.
        FacingsError: no data, too little of it before the cut, another search of this study, or no setting could be
            trained.
    """
    check_ranges(recipe)
    lake = Lake(settings.paths)
    split = moments(lake, recipe.split)
    validation = Validation(settings, recipe, split, clock)
    if validation.needs_features:
        from pipelines.signals.feature_store.materialise import materialise

        starts = [window.start for window in validation.windows]
        materialise(settings, lake, as_of=[*sorted(starts), split.end], clock=clock, progress=progress)
    code = code_digest()
    name = f"{recipe.name}-{_key(recipe, validation, code)}"
    progress(f"tune: study {name}; windows {describe(validation.windows)}")
    with exclusive(settings.paths.runs / f"tune-{name}.lock", "search of this study"):
        study = _study(settings, name)
        _take_up(study, recipe, progress)
        stop = None if timeout is None else time.monotonic() + timeout
        while len(tried := _tried(study)) < trials and (stop is None or time.monotonic() < stop):
            _try_one(study, recipe, validation, seed=recipe.seed * 100_003 + len(tried), progress=progress)
    return _search(study, name, recipe, validation, code)


def check_ranges(recipe: Recipe) -> None:
    """Refuse ranges that no trial could use, before any work is done.

    Raises:
        UsageError: there are none, or the recommender does not take an end of one.
    """
    create(recipe.recommender, recipe.config)
    if not recipe.ranges:
        raise UsageError(
            f"Recipe {recipe.name} names no `ranges` to search; add for example "
            "`ranges: {decay_days: {low: 10, high: 200}}` with a key of its config."
        )
    for path, asked in recipe.ranges.items():
        ends = asked.choices if asked.choices is not None else (asked.low, asked.high)
        for end in ends:
            value = _typed(recipe, path, asked, end)
            try:
                create(recipe.recommender, with_settings(recipe.config, {path: value}))
            except UsageError as error:
                raise UsageError(f"Range `{path}` of recipe {recipe.name}, value {value!r}: {error}") from None


def with_settings(config: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the config with values put at dotted paths.

    >>> with_settings({"repeats": {"days": 1}}, {"repeats.days": 2, "epochs": 3})
    {'repeats': {'days': 2}, 'epochs': 3}
    """
    changed = copy.deepcopy(config)
    for path, value in settings.items():
        place = changed
        *outer, last = path.split(".")
        for name in outer:
            inner = place.setdefault(name, {})
            if not isinstance(inner, dict):
                raise UsageError(f"Range `{path}`: `{name}` of the config holds no keys; name a key that it has.")
            place = inner
        place[last] = value
    return changed


def _key(recipe: Recipe, validation: Validation, code: str) -> str:
    ranges = {path: asked.model_dump(mode="json") for path, asked in recipe.ranges.items()}
    windows = [window.start.isoformat() for window in validation.windows]
    content = [recipe.fingerprint, ranges, validation.digest, validation.cut.isoformat(), windows, code]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _study(settings: Settings, name: str) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings.paths.root.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        storage=f"sqlite:///{settings.paths.root / 'tuning.db'}",
        study_name=name,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=0),
    )


def _take_up(study: Study, recipe: Recipe, progress: Callable[[str], None]) -> None:
    """Try first the recipe's own setting; in a study that was stopped, first what was being tried then."""
    from optuna.trial import Trial, TrialState

    if not study.trials:
        own = _own(recipe)
        if own is not None:
            study.enqueue_trial({path: _stored(recipe.ranges[path], value) for path, value in own.items()})
        return
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        times = trial.user_attrs.get(_CUT_OFF, 0) + 1
        if times > _PATIENCE:
            progress(f"tune: trial {trial.number} was cut off {times} times; it counts as failed")
            Trial(study, trial._trial_id).set_user_attr(_ERROR, "it was cut off each time it was tried")
        else:
            progress(f"tune: trial {trial.number} was cut off; it is tried again")
            if trial.params:
                study.enqueue_trial(trial.params, user_attrs={_CUT_OFF: times})
        study.tell(trial.number, state=TrialState.FAIL)


def _try_one(
    study: Study, recipe: Recipe, validation: Validation, *, seed: int, progress: Callable[[str], None]
) -> None:
    """Ask for a setting, score it window by window, and tell the study."""
    import optuna
    from optuna.trial import TrialState

    study.sampler = optuna.samplers.TPESampler(seed=seed % 2**32, n_startup_trials=_STARTUP)
    trial = study.ask()
    chosen = {path: _suggest(trial, recipe, path, asked) for path, asked in recipe.ranges.items()}
    candidate = recipe.model_copy(update={"config": with_settings(recipe.config, chosen)})
    said = ", ".join(
        f"{path} {value:.6g}" if isinstance(value, float) else f"{path} {value}" for path, value in chosen.items()
    )
    scores: list[Score] = []
    try:
        for step, window in enumerate(validation.windows, start=1):
            scores.append(validation.score(candidate, window))
            trial.set_user_attr(_SHOPPERS, [score.shoppers for score in scores])
            mean = sum(score.value for score in scores) / len(scores)
            trial.report(mean, step)
            if step < len(validation.windows) and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                progress(f"tune: trial {trial.number}: {said}: {mean:.4f} after window {step}, pruned")
                return
    except FacingsError as error:
        trial.set_user_attr(_ERROR, str(error))
        study.tell(trial, state=TrialState.FAIL)
        progress(f"tune: trial {trial.number}: {said}: {error}")
        return
    study.tell(trial, mean)
    progress(f"tune: trial {trial.number}: {said}: {validation.metric} {mean:.4f}")


def _suggest(trial: Trial, recipe: Recipe, path: str, asked: RangeRecipe) -> Any:
    if asked.choices is not None:
        return json.loads(str(trial.suggest_categorical(path, [_stored(asked, choice) for choice in asked.choices])))
    assert asked.low is not None and asked.high is not None
    if _is_whole(recipe, path, asked):
        return trial.suggest_int(path, int(asked.low), int(asked.high), step=int(asked.step or 1), log=asked.log)
    return trial.suggest_float(path, asked.low, asked.high, step=asked.step, log=asked.log)


def _is_whole(recipe: Recipe, path: str, asked: RangeRecipe) -> bool:
    """Whole numbers: the range says so by its step, or the config's own value is one."""
    own = _at(create(recipe.recommender, recipe.config).config.model_dump(), path)
    ends = all(float(end).is_integer() for end in (asked.low, asked.high, asked.step or 1) if end is not None)
    return asked.whole or (isinstance(own, int) and not isinstance(own, bool) and ends)


def _typed(recipe: Recipe, path: str, asked: RangeRecipe, end: Any) -> Any:
    return int(end) if asked.choices is None and _is_whole(recipe, path, asked) else end


def _stored(asked: RangeRecipe, value: Any) -> Any:
    """How a value is kept in the study: of a list any JSON value as text, of an interval the number."""
    return json.dumps(value, sort_keys=True) if asked.choices is not None else value


def _own(recipe: Recipe) -> dict[str, Any] | None:
    """The recipe's own setting of every range; None where one lies outside, or is not known."""
    config = create(recipe.recommender, recipe.config).config.model_dump(mode="json")
    found = {}
    for path, asked in recipe.ranges.items():
        value = _at(config, path)
        if asked.choices is not None:
            inside = any(_stored(asked, value) == _stored(asked, choice) for choice in asked.choices)
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            inside = number and asked.low is not None and asked.high is not None and asked.low <= value <= asked.high
        if not inside:
            return None
        found[path] = value
    return found


def _at(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = config.get(name) if isinstance(config, dict) else None
    return config


def _tried(study: Study) -> list[FrozenTrial]:
    """Trials that came to an end; one that was cut off did not."""
    from optuna.trial import TrialState

    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    trials = study.get_trials(deepcopy=False, states=ended)
    return [trial for trial in trials if trial.state is not TrialState.FAIL or _ERROR in trial.user_attrs]


def _search(study: Study, name: str, recipe: Recipe, validation: Validation, code: str) -> Search:
    trials = [_result(trial, recipe) for trial in _tried(study)]
    whole = [trial for trial in trials if trial.state == "complete"]
    if not whole:
        why = next((trial.error for trial in reversed(trials) if trial.error), "the time was over before one ended")
        raise FacingsError(f"No setting of {recipe.name} could be judged: {why}")
    own = _own(recipe)
    return Search(
        study=name,
        recipe=recipe,
        metric=f"{validation.metric}@{recipe.split.k}",
        windows=describe(validation.windows),
        data=validation.digest,
        code=code,
        trials=trials,
        best=max(whole, key=lambda trial: (trial.value or 0.0, -trial.number)),
        own=next((trial for trial in whole if own is not None and trial.settings == own), None),
    )


def _result(trial: FrozenTrial, recipe: Recipe) -> TrialResult:
    states: dict[str, Literal["complete", "pruned", "failed"]] = {"COMPLETE": "complete", "PRUNED": "pruned"}
    state = states.get(trial.state.name, "failed")
    values = {
        path: json.loads(value) if recipe.ranges[path].choices is not None else value
        for path, value in trial.params.items()
    }
    return TrialResult(
        number=trial.number,
        state=state,
        value=trial.value if state == "complete" else None,
        settings=values,
        windows=[value for _, value in sorted(trial.intermediate_values.items())],
        shoppers=list(trial.user_attrs.get(_SHOPPERS, [])),
        error=trial.user_attrs.get(_ERROR),
    )
