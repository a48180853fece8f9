"""Self-contained pages for people: one style, light and dark, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_SENTENCE = 48  # a cell of so many characters is no figure
# The policy makes it a fact that no page asks for anything outside itself.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
# Six colours with a contrast of at least 4.5 to the ground in either scheme; plots also tell series apart by dashes.
STYLE = """
:root{color-scheme:light dark;--ink:#1b1b1b;--ground:#fff;--faint:#595959;--line:#c9c9c9;--band:#f3f3f3;
--yes:#0a6b2d;--no:#a3150f;--s0:#0b5394;--s1:#a33b00;--s2:#00664f;--s3:#8a2f79;--s4:#6b5300;--s5:#3d3d3d}
@media (prefers-color-scheme:dark){:root{--ink:#ececec;--ground:#16181b;--faint:#a8a8a8;--line:#474b50;--band:#1f2226;
--yes:#6fd08c;--no:#ff9a90;--s0:#7db8f2;--s1:#ff9f68;--s2:#5fd0b1;--s3:#e59bd6;--s4:#dcc05a;--s5:#d0d0d0}}
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:var(--ink);
background:var(--ground)}
h2{margin-top:2.5rem}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}
caption{text-align:left;color:var(--faint);padding:.3rem 0}td,th{padding:.25rem .6rem;text-align:right;
white-space:nowrap}th[scope=row],thead th:first-child{text-align:left}thead{border-bottom:2px solid var(--line)}
tbody tr:nth-child(even){background:var(--band)}tr.chosen{font-weight:700}.scroll{overflow-x:auto}
td.words{text-align:left;white-space:normal;min-width:24rem}.yes{color:var(--yes)}.no{color:var(--no)}.faint{color:var(--faint)}svg{max-width:100%;height:auto}
"""
# Rules of the plots, also embedded where a plot is a file of its own.
PLOT_STYLE = (
    ".ink{fill:var(--ink,#1b1b1b)}.faint{fill:var(--faint,#595959)}.rule{stroke:var(--line,#c9c9c9)}"
    ".up{stroke:var(--yes,#0a6b2d);fill:var(--yes,#0a6b2d)}.down{stroke:var(--no,#a3150f);fill:var(--no,#a3150f)}"
    ".even{stroke:var(--faint,#595959);fill:var(--faint,#595959)}"
    ".s0{stroke:var(--s0,#0b5394)}.s1{stroke:var(--s1,#a33b00)}.s2{stroke:var(--s2,#00664f)}"
    ".s3{stroke:var(--s3,#8a2f79)}.s4{stroke:var(--s4,#6b5300)}.s5{stroke:var(--s5,#3d3d3d)}"
)


def document(title: str, parts: Sequence[str], *, style: str = "") -> str:
    """Return a whole HTML page; `parts` are HTML, `style` is added to the common one."""
    head = (
        f"<meta charset='utf-8'><meta http-equiv='Content-Security-Policy' content=\"{_POLICY}\">"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{STYLE}{PLOT_STYLE}{style}</style>"
    )
    body = "\n".join(parts)
    return f"<!doctype html>\n<html lang='en'><head>{head}</head><body><main>\n{body}\n</main></body></html>\n"


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, chosen: str | None = None) -> str:
    """Return a table that scrolls sideways where it is wide; the first cell of a row is its heading.

    Args:
        caption: what it shows; plain text, as all cells but those that begin with `<`.
        head: headings of the columns.
        rows: cells.
        chosen: the row with this heading is set in bold.
    """
    tops = "".join(f"<th scope='col'>{_cell(name)}</th>" for name in head)
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td{_kind(cell)}>{_cell(cell)}</td>" for cell in others)
        mark = " class='chosen'" if first == chosen else ""
        lines.append(f"<tr{mark}><th scope='row'>{_cell(first)}</th>{cells}</tr>")
    return (
        f"<div class='scroll' role='region' tabindex='0' aria-label='{escape(caption, quote=True)}'><table>"
        f"<caption>{escape(caption)}</caption><thead><tr>{tops}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _kind(text: str) -> str:
    """Sentences are read from the left, over several lines."""
    return " class='words'" if len(text) > _SENTENCE and not text.startswith("<") else ""


def _cell(text: str) -> str:
    return text if text.startswith("<") and text.endswith(">") else escape(text)
