"""Every reason is described in docs/http.md, and every one that is worth telling has a word on the pages."""

from __future__ import annotations

import re
from pathlib import Path

from models.reasons import Reason
from pipelines.packed import REASONS

ROOT = Path(__file__).resolve().parents[2]


def test_every_reason_and_no_other_is_described() -> None:
    page = (ROOT / "docs" / "http.md").read_text().partition("| reason |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == {reason.value for reason in Reason}


def test_every_reason_that_tells_something_has_a_word() -> None:
    words = (ROOT / "serving" / "pages" / "words.js").read_text().partition("reasons: {")[2].partition("}")[0]
    told = {reason.value for reason in Reason} - {Reason.REQUESTED, Reason.IN_ASSORTMENT}
    assert set(re.findall(r"(\w+): \"", words)) == told


def test_reasons_keep_their_places_in_packed_candidates_and_fit_into_four_bits() -> None:
    first = ["bought_before", "similar_taste", "popular", "popular_in_store", "popular_in_neighbourhood", "requested"]
    assert [str(reason) for reason in REASONS[:6]] == first
    assert len(REASONS) <= 16
