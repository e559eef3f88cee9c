"""One self-contained HTML page for a person: what the reports of a build and of a training run look like.

All text given to these functions is HTML: escape what a user named (`html.escape`). A page loads nothing from
elsewhere, follows the reader's dark or light setting, fits a phone and prints.
"""

import base64
import html
import re
from collections.abc import Iterable, Sequence

_STYLE = """
:root { --ink: #1d2530; --faint: #68737f; --line: #dde3e9; --paper: #ffffff; --wash: #f5f7f9;
  --bar: #3d7dca; --hot: #c94f1a; --third: #2f8f5b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ee; --faint: #95a1ad; --line: #333d47; --paper: #14191f; --wash: #1c232b;
    --bar: #5b9be6; --hot: #f08a55; --third: #63c28f; }
}
body { margin: 2.5rem auto; max-width: 62rem; padding: 0 1.25rem; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; break-after: avoid; }
p, .faint { color: var(--faint); } p { margin: .2rem 0 .8rem; }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem; margin: 1.4rem 0; }
.card { background: var(--wash); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; }
.card b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; background: linear-gradient(90deg, var(--paper) 40%, transparent) left / 2.5rem 100%,
  linear-gradient(270deg, var(--paper) 40%, transparent) right / 2.5rem 100%,
  linear-gradient(90deg, var(--line), transparent) left / .8rem 100%,
  linear-gradient(270deg, var(--line), transparent) right / .8rem 100%; background-repeat: no-repeat;
  background-attachment: local, local, scroll, scroll; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .text { text-align: left; } th { color: var(--faint); font-weight: 600; }
td.bar { width: 40%; min-width: 6rem; }
.track { background: var(--wash); border-radius: .2rem; height: .8rem; position: relative; }
.mark { position: absolute; top: -.2rem; bottom: -.2rem; border-left: 2px solid var(--ink); }
.drawing { max-width: 32rem; color: var(--ink); } .drawing svg { display: block; width: 100%; height: auto; }
.keys span { display: inline-block; margin-right: 1.2rem; }
.keys svg { display: inline-block; width: 30px; height: 12px; }
svg text { fill: currentColor; font: 11px system-ui, sans-serif; }
.chain { display: flex; flex-wrap: wrap; gap: .5rem 0; list-style: none; margin: 0; padding: 0; }
.chain li { display: flex; align-items: center; break-inside: avoid; }
.chain li + li::before { content: "\\2192"; color: var(--faint); padding: 0 .35rem; }
.chain div { background: var(--wash); border: 1px solid var(--line); border-radius: .5rem; padding: .45rem .6rem;
  font-size: .82rem; line-height: 1.35; width: 8.4rem; align-self: stretch; }
.chain svg { display: block; width: 4rem; height: 3rem; }
.fill { background: var(--bar); border-radius: .2rem; height: 100%; } .fill.hot { background: var(--hot); }
.figures { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .8rem; }
.figures.small { grid-template-columns: repeat(4, minmax(0, 1fr)); }
.figures :only-child { grid-column: 1 / -1; max-width: 36rem; }
@media (max-width: 40rem) { .figures { grid-template-columns: minmax(0, 1fr); }
  .figures.small { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
figure { margin: 0; break-inside: avoid; } figure img { display: block; width: 100%; height: auto; }
figcaption { color: var(--faint); font-size: .85rem; margin-top: .2rem; overflow-wrap: anywhere; }
table.dense { font-size: .82rem; line-height: 1.3; } .dense th, .dense td { padding: .2rem .45rem; }
.wrap { white-space: normal !important; min-width: 9rem; } td.text.wrap { min-width: 16rem; }
table + table { margin-top: 1.2rem; }
table.narrow { width: auto; min-width: min(100%, 24rem); }
footer { margin-top: 2.5rem; color: var(--faint); font-size: .85rem; }
@media (max-width: 40rem) { body { margin: 1.2rem auto; padding: 0 .8rem; } th, td { padding: .28rem .4rem; }
  .dense td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 7.5rem; }
  .wrap { min-width: 6.5rem; } td.bar { min-width: 3.2rem; } }
@media print { :root { --ink: #000; --faint: #444; --line: #bbb; --paper: #fff; --wash: #f0f0f0; --bar: #3d7dca;
    --hot: #c94f1a; --third: #2f8f5b; }
  @page { margin: 12mm; } body { margin: 0; padding: 0; max-width: none; font-size: 9.5pt; }
  .scroll { overflow: visible; background: none; }
  tr, .card { break-inside: avoid; } thead { display: table-header-group; }
  table { font-size: 8.5pt; } th, td { padding: .12rem .3rem; } h2 + p { break-after: avoid; }
  table.dense { font-size: 7pt; } .dense th, .dense td { padding: .08rem .22rem; } .wrap, td.text.wrap { min-width: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def page(title: str, remark: str, sections: Iterable[str], footer: str) -> str:
    """Return the whole page: heading, one line under it, the sections, and the small print."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{_STYLE}</style></head><body>
<h1>{title}</h1><p>{remark}</p>
{"".join(sections)}
<footer>{footer}</footer>
</body></html>
"""


def section(title: str, remark: str, body: str) -> str:
    """Return a heading, a remark and a body, if there is one, that scrolls sideways where it is too wide."""
    scrolled = f'<div class="scroll" tabindex="0">{body}</div>' if body else ""
    return f"<h2>{title}</h2><p>{remark}</p>{scrolled}"


def cards(figures: Iterable[tuple[str, str, str]]) -> str:
    """Return a row of figures to see first, each (value, what it is, evidence)."""
    each = (
        f'<div class="card"><b>{value}</b>{name}<br><span class="faint">{evidence}</span></div>'
        for value, name, evidence in figures
    )
    return f'<div class="cards">{"".join(each)}</div>'


def breakable(name: str) -> str:
    """Return a module's or layer's name as HTML that may be broken behind its words: 'MVAU_rtl_0', 'MaxPool'."""
    return re.sub(r"_(?=.)|(?<=[a-z])(?=[A-Z])", r"\g<0><wbr>", html.escape(name))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], dense: bool = False) -> str:
    """Return a table; a heading or a cell may bring its own tag, and a `dense` one takes less room."""
    head = "".join(text if text.startswith("<th") else f'<th scope="col">{text}</th>' for text in headings)
    kind = ' class="dense"' if dense else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{_rows(rows)}</tbody></table>"


def left(heading: str) -> str:
    """Return a heading above a column of text, which begins at the left."""
    return f'<th scope="col" class="text">{heading}</th>'


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Return a narrow table of names and values, without headings."""
    return f'<table class="narrow"><tbody>{_rows(rows)}</tbody></table>'


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"<tr>{''.join(_cell(text) for text in row)}</tr>" for row in rows)


def _cell(text: str) -> str:
    return text if text.startswith("<td") else f"<td>{text}</td>"


def bar(share: float, hot: bool = False, marks: Iterable[float] = ()) -> str:
    """Return a table cell with a bar filled to `share` (0..1) and upright lines at the shares `marks`.

    The row has to give the number too: a bar alone says nothing to a reader who does not see it.
    """
    fill = f'<div class="fill{" hot" * hot}" style="width:{100 * min(1.0, share):.1f}%"></div>'
    lines = "".join(f'<div class="mark" style="left:{100 * mark:.1f}%"></div>' for mark in marks if 0 <= mark <= 1)
    return f'<td class="bar"><div class="track" aria-hidden="true">{fill}{lines}</div></td>'


def chain(steps: Iterable[str]) -> str:
    """Return boxes in a row with an arrow from each to the next, in as many lines as they take."""
    return f'<ol class="chain">{"".join(f"<li><div>{step}</div></li>" for step in steps)}</ol>'


def drawing(width: int, height: int, alt: str, shapes: Iterable[str]) -> str:
    """Return SVG `shapes`, drawn on `width` x `height` units, as wide as the page allows; `alt` says what is seen."""
    return f'<div class="drawing">{svg(width, height, alt, shapes)}</div>'


def svg(width: int, height: int, alt: str, shapes: Iterable[str]) -> str:
    """Return an SVG picture in the page's colours; `alt` says what is seen, empty for one that only decorates."""
    role = f'role="img" aria-label="{alt}"' if alt else 'aria-hidden="true"'
    return f'<svg viewBox="0 0 {width} {height}" {role}>{"".join(shapes)}</svg>'


def figure(light: str, alt: str, dark: str | None = None, caption: str = "") -> str:
    """Return a picture given as a data URI (see `data_uri`), with another for dark pages where there is one."""
    source = f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">' if dark else ""
    text = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure><picture>{source}<img src="{light}" alt="{alt}"></picture>{text}</figure>'


def figures(each: Iterable[str], small: bool = False) -> str:
    """Return figures side by side: two in a row, `small` ones four; half as many on a phone."""
    return f'<div class="figures{" small" * small}">{"".join(each)}</div>'


def data_uri(data: bytes, kind: str) -> str:
    """Return the bytes of a picture as a `data:` URI; `kind` is its media type, such as image/png."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
