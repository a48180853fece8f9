"""What stores do not want shown, by the codes of the shop's brands and categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def excluded_codes(
    stores: Mapping[str, Mapping[str, Any]], names: Mapping[str, list[str]]
) -> dict[str, list[list[int]]]:
    """Of each store that excludes something the codes of brands and of categories, with all below them."""
    brands: dict[str, list[int]] = {}
    below: dict[str, list[int]] = {}
    for code, brand in enumerate(names["brands"]):
        brands.setdefault(_plain(brand), []).append(code)
    for code, category in enumerate(names["categories"]):
        parts = _plain(category).split("/")
        for depth in range(len(parts)):
            below.setdefault("/".join(parts[: depth + 1]), []).append(code)
    found = {}
    for store, row in stores.items():
        codes = [
            sorted({code for name in (row[column] or "").split("|") for code in known.get(_plain(name), ())})
            for column, known in (("excluded_brands", brands), ("excluded_categories", below))
        ]
        if any(codes):
            found[store] = codes
    return found


def _plain(name: str) -> str:
    """A name as it is compared: without regard to case, and to blanks around the parts of a path."""
    return "/".join(part.strip().casefold() for part in name.strip().strip("/").split("/"))
