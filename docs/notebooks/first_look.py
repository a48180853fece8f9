"""A first look at a shop's data and at two recommenders, before an idea becomes a file.

    marimo edit docs/notebooks/first_look.py     # in a browser, cell by cell
    python docs/notebooks/first_look.py          # as a script

It reads the home of FACINGS_HOME (load one with `facings ingest FOLDER`) and changes nothing there.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="A first look")


@app.cell
def _():
    import marimo as mo
    import pandas as pd

    from configs.recipe import SplitRecipe, load_recipe
    from configs.settings import load_settings
    from models.metrics.bootstrap import paired_difference
    from models.registry import create
    from pipelines.signals.lake.lake import Lake
    from pipelines.training.dataset import Moments, moments, signals, training_dataset
    from pipelines.training.evaluate import make_test, measure
    from pipelines.training.plots import lines
    from pipelines.training.windows import Validation

    return (
        Lake,
        Moments,
        SplitRecipe,
        Validation,
        create,
        lines,
        load_recipe,
        load_settings,
        make_test,
        measure,
        mo,
        moments,
        paired_difference,
        pd,
        signals,
        training_dataset,
    )


@app.cell
def _(Lake, Moments, SplitRecipe, load_settings, mo, moments, pd):
    settings = load_settings()
    lake = Lake(settings.paths)
    data_split = moments(lake, SplitRecipe())
    # The last four weeks are the test window. This notebook looks at the four before them, so that it stays unseen.
    split = Moments(cut=data_split.cut - pd.Timedelta(days=28), end=data_split.cut)
    mo.md(f"# A first look\n\nKnown before **{split.cut:%Y-%m-%d}**, judged on the four weeks after it.")
    return lake, settings, split


@app.cell
def _(lake, mo, pd, signals, split):
    purchases = signals(lake, ["purchase"], split.end)
    by_week = purchases.set_index("event_time").resample("7D")["shopper_id"].agg(["size", "nunique"])
    per_shopper = purchases["shopper_id"].value_counts()
    facts = pd.DataFrame(
        {
            "purchases": [len(purchases)],
            "shoppers": [purchases["shopper_id"].nunique()],
            "items": [purchases["item_id"].nunique()],
            "median a shopper": [per_shopper.median()],
            "repeats": [purchases.duplicated(["shopper_id", "item_id"]).mean()],
        }
    )
    mo.vstack([mo.md("## The data"), mo.plain(facts), mo.plain(by_week)])
    return facts, purchases


@app.cell
def _(create, lake, load_recipe, make_test, measure, mo, pd, purchases, settings, split, training_dataset):
    recipes = [load_recipe(name) for name in ("popularity", "personal_frequency")]
    models, frames, summaries = {}, {}, {}
    for recipe in recipes:
        dataset = training_dataset(settings, lake, recipe, split.cut)
        test = make_test(dataset, purchases[purchases["event_time"] >= split.cut], k=10)
        model = create(recipe.recommender, recipe.config).fit(dataset, seed=recipe.seed)
        models[recipe.name] = model
        frames[recipe.name], summaries[recipe.name] = measure(model, test)
    measured = pd.DataFrame(summaries).loc[["ndcg", "recall", "repeat_recall", "new_recall", "coverage", "gini"]]
    mo.vstack([mo.md("## Two recommenders, the same split"), mo.plain(measured)])
    return frames, measured, models, test


@app.cell
def _(frames, mo, paired_difference):
    gap = paired_difference(
        frames["personal_frequency"]["ndcg"].to_numpy(), frames["popularity"]["ndcg"].to_numpy(), confidence=0.975
    )
    mo.md(
        f"Personal frequency less popularity, NDCG@10: **{gap.difference:+.4f}** "
        f"[{gap.lower:+.4f}, {gap.upper:+.4f}] (95 %, paired bootstrap over {gap.shoppers} shoppers)."
    )
    return (gap,)


@app.cell
def _(Validation, lines, load_recipe, mo, settings, split):
    own = load_recipe("personal_frequency")
    validation = Validation(settings, own, split, settings.clock())
    scores = {
        days: validation.score(own.model_copy(update={"config": {"decay_days": days}}), validation.windows[0]).value
        for days in (5, 15, 30, 60, 120, 240)
    }
    curve = lines("NDCG@10 by decay", {"ndcg": sorted(scores.items())}, across="decay_days", upwards="NDCG@10")
    mo.vstack([mo.md("## How long does a purchase count? (`facings tune` asks this in earnest)"), mo.Html(curve)])
    return (scores,)


@app.cell
def _(mo, models, test):
    someone = test.shoppers[0]
    lists = {
        name: model.recommend([someone], 10, attributes=test.attributes)[["rank", "item_id", "score", "reason"]]
        for name, model in models.items()
    }
    mo.vstack(
        [mo.md("## One shopper"), *(mo.vstack([mo.md(f"**{name}**"), mo.plain(own)]) for name, own in lists.items())]
    )
    return (lists,)


if __name__ == "__main__":
    app.run()
