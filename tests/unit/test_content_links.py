"""Which items a content is linked to, and how strongly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.content.links import COLUMNS, content_links, links

ITEMS = pd.DataFrame(
    {
        "item_id": ["i1", "i2", "i3", "i4", "i5", "i6"],
        "title": ["Penne rigate", "Red lentils", "Espresso beans", "Olive oil", None, "Lentil crisps"],
        "tags": ["pasta|Italian", "vegan|pulses", "coffee", "italian", None, "vegan"],
        "brand": ["Twig", "Twig", "Bean", None, "Bean", None],
        "category": ["FOOD/PASTA", "FOOD/PULSES", "FOOD/COFFEE", "FOOD/OIL", "HOME/SOAP", "FOOD/SNACKS"],
    }
)


def content(**columns: object) -> pd.DataFrame:
    return pd.DataFrame([{"content_id": "c", "title": None, "tags": None, "item_ids": None, **columns}])


def linked(contents: pd.DataFrame, kind: str) -> dict[str, float]:
    table = content_links(contents, ITEMS)
    table = table[table["by"] == kind]
    return dict(zip(table["item_id"], table["weight"], strict=True))


def test_a_content_is_linked_to_the_items_it_names_and_that_there_are() -> None:
    assert linked(content(item_ids="i3|gone| i1"), "id") == {"i1": 1.0, "i3": 1.0}


def test_tags_are_shared_with_an_item_s_tags_brand_and_category_whatever_their_case() -> None:
    assert linked(content(tags="ITALIAN"), "tags") == {"i1": 1.0, "i4": 1.0}
    assert linked(content(tags="bean"), "tags") == {"i3": 1.0, "i5": 1.0}
    assert linked(content(tags="soap|nobody has this"), "tags") == {"i5": 1.0}


def test_a_rare_tag_counts_more_than_one_that_nearly_all_bear() -> None:
    found = linked(content(tags="food|pulses"), "tags")
    assert found["i2"] == 1.0 and set(found) == {"i2"}  # food alone is less than half of what the content says


def test_titles_are_alike_by_their_words_and_near_words() -> None:
    found = linked(content(title="Cooking lentils"), "text")
    assert {"i2", "i6"} <= set(found) and "i3" not in found
    assert all(0 < weight <= 1 for weight in found.values())


def test_a_content_of_which_nothing_is_known_is_linked_to_nothing() -> None:
    assert content_links(content(), ITEMS).empty
    empty = content_links(content().head(0), ITEMS)
    assert list(empty.columns) == COLUMNS and empty.empty


def test_another_content_changes_no_link() -> None:
    one = content(title="Lentil soup", tags="vegan|italian", item_ids="i4")
    more = pd.concat([one, content(tags="vegan", title="Lentils").assign(content_id="d")], ignore_index=True)
    together = content_links(more, ITEMS)
    mine = together[together["content_id"] == "c"].reset_index(drop=True)
    pd.testing.assert_frame_equal(content_links(one, ITEMS), mine)


def test_only_the_strongest_links_of_each_kind_are_kept() -> None:
    items = pd.DataFrame(
        {"item_id": [f"i{n:03}" for n in range(300)], "tags": ["a|b" if n % 2 else "a" for n in range(300)]}
    )
    items.loc[299, "tags"] = "c"
    found = content_links(content(tags="a|b"), items, most=10)
    assert found["item_id"].tolist() == [f"i{n:03}" for n in range(1, 20, 2)]


def test_the_table_holds_what_the_factors_give() -> None:
    contents = content(title="Italian penne", tags="italian|pasta", item_ids="i5")
    table = content_links(contents, ITEMS)
    for kind, link in links(contents, ITEMS).items():
        whole = np.asarray((link.contents @ link.items.T).todense()).ravel()
        for row in table[table["by"] == kind].itertuples():
            assert whole[ITEMS["item_id"].tolist().index(row.item_id)] == pytest.approx(row.weight)
