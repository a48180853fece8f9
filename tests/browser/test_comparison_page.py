"""The page of a comparison in a browser: readable in both schemes and on a phone, and it asks for nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from configs.recipe import Recipe
from pipelines.training.comparison.child import Costs
from pipelines.training.comparison.examples import Example, Past, Place
from pipelines.training.comparison.measure import Line
from pipelines.training.comparison.page import Content, comparison_page
from pipelines.training.comparison.plan import ComparisonPlan, Entrant

HOSTILE = "<script>document.title='taken'</script><img src=http://127.0.0.1:9/x>"
CONTRAST = """() => {
  const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(Number).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (box) => { for (let at = box; at; at = at.parentElement) {
    const c = getComputedStyle(at).backgroundColor; if (!c.endsWith(", 0)")) return c; } return "rgb(255, 255, 255)"; };
  const low = [];
  for (const box of document.querySelectorAll("main *")) {
    const texts = [...box.childNodes].filter((node) => node.nodeType === 3 && node.textContent.trim());
    if (box.tagName === "title" || !texts.length) continue;
    const style = getComputedStyle(box);
    const ink = box.closest("svg") ? style.fill : style.color;
    const [high, dark] = [light(ink), light(ground(box))].sort((p, q) => q - p);
    if ((high + 0.05) / (dark + 0.05) < 4.5) low.push(`${box.tagName} ${box.className.baseVal ?? box.className}`);
  }
  return low;
}"""


def content() -> Content:
    """Three recipes with a line of every kind, and an example whose titles attack."""
    recipes = [Recipe(name=name, recommender="popularity", config={"window_days": days}) for name, days in
               (("one", 7), ("two", 14), ("three", 28))]  # fmt: skip
    plan = ComparisonPlan(
        data="0" * 16,
        code="1" * 16,
        cut=datetime(2026, 5, 1, tzinfo=UTC),
        end=datetime(2026, 5, 29, tzinfo=UTC),
        k=10,
        seeds=3,
        entrants=tuple(Entrant(label=recipe.name, recipe=recipe) for recipe in recipes),
    )
    lines = []
    for scope in ("all", "cold", "store s1", "item_new"):
        for metric in ("ndcg", "recall", "repeat_recall", "new_ndcg"):
            lines.append(Line(recipe="one", scope=scope, metric=metric, shoppers=40, mean=0.2))
            for name, low, high in (("two", 0.01, 0.03), ("three", -0.05, -0.01)):
                bounds = {"difference": (low + high) / 2, "lower": low, "upper": high}
                lines.append(Line(recipe=name, scope=scope, metric=metric, shoppers=40, mean=0.2 + low, **bounds))
    cost = Costs(fit_seconds=1, fit_cpu_seconds=2, lists_seconds=0.5, before_mb=200, peak_mb=300, interactions=100_000)
    labels = ("one", "two", "three")
    places = [Place(title=HOSTILE, reason="popular", hit=True, again=True)] * 3
    example = Example(
        number=1,
        slice="heavy",
        purchases=9,
        past=[Past(title=HOSTILE, times=2, days_ago=3)],
        bought=[HOSTILE] * 40,
        lists={"one": places, "two": [], "three": places},
    )
    return Content(
        plan=plan,
        test_shoppers=40,
        items=1000,
        lines=lines,
        summaries={key: {"coverage": 0.5, "gini": 0.3} for key in labels},
        deciles=dict.fromkeys(labels, [0.1] * 10),
        curves={key: [(1.0, 0.1), (10.0, 0.5), (1000.0, 1.0)] for key in labels},
        costs=dict.fromkeys(labels, cost),
        examples=[example],
    )


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_readable_in_either_scheme_and_asks_for_nothing(
    visit: Callable[..., Any], tmp_path: Path, scheme: str
) -> None:
    file = tmp_path / "comparison.html"
    file.write_text(comparison_page(content()))
    page = visit(file.as_uri(), 390, 800, color_scheme=scheme)
    assert page.title() == "Comparison: one, two, three"
    assert page.requests == [file.as_uri()] and page.faults == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "tables scroll within themselves"
    assert page.evaluate(CONTRAST) == []
    assert page.locator("svg[role=img] > title").count() == page.locator("svg").count() >= 4
    assert page.locator("table caption").count() == page.locator("table").count()
    assert "and 25 more" in page.locator("details").first.inner_text()
