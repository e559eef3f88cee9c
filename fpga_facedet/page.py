"""One self-contained HTML page for a person: what the reports of a build and of a training run look like.

All text given to these functions is HTML: escape what a user named (`html.escape`). A page loads nothing from
elsewhere, follows the reader's dark or light setting, fits a phone and prints.
"""

import base64
from collections.abc import Iterable, Sequence

_STYLE = """
:root { --ink: #1d2530; --faint: #68737f; --line: #dde3e9; --paper: #ffffff; --wash: #f5f7f9;
  --bar: #3d7dca; --hot: #d9622b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ee; --faint: #95a1ad; --line: #333d47; --paper: #14191f; --wash: #1c232b;
    --bar: #5b9be6; --hot: #f08a55; }
}
body { margin: 2.5rem auto; max-width: 62rem; padding: 0 1.25rem; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; break-after: avoid; }
p, .faint { color: var(--faint); } p { margin: .2rem 0 .8rem; }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem; margin: 1.4rem 0; }
.card { background: var(--wash); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; }
.card b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .text { text-align: left; } th { color: var(--faint); font-weight: 600; }
td.bar { width: 40%; } .track { background: var(--wash); border-radius: .2rem; height: .8rem; }
.fill { background: var(--bar); border-radius: .2rem; height: 100%; } .fill.hot { background: var(--hot); }
.figures { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .8rem; }
.figures.small { grid-template-columns: repeat(4, minmax(0, 1fr)); }
.figures :only-child { grid-column: 1 / -1; max-width: 36rem; }
@media (max-width: 40rem) { .figures { grid-template-columns: minmax(0, 1fr); }
  .figures.small { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
figure { margin: 0; break-inside: avoid; } figure img { display: block; width: 100%; height: auto; }
figcaption { color: var(--faint); font-size: .85rem; margin-top: .2rem; overflow-wrap: anywhere; }
table.narrow { width: auto; min-width: min(100%, 24rem); }
footer { margin-top: 2.5rem; color: var(--faint); font-size: .85rem; }
@media print { body { margin: 0; max-width: none; } .scroll { overflow: visible; } tr { break-inside: avoid; } }
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
    """Return a heading, a remark and a body that scrolls sideways where it is too wide."""
    return f'<h2>{title}</h2><p>{remark}</p><div class="scroll">{body}</div>'


def cards(figures: Iterable[tuple[str, str, str]]) -> str:
    """Return a row of figures to see first, each (value, what it is, evidence)."""
    each = (
        f'<div class="card"><b>{value}</b>{name}<br><span class="faint">{evidence}</span></div>'
        for value, name, evidence in figures
    )
    return f'<div class="cards">{"".join(each)}</div>'


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a cell may bring its own tag."""
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{_rows(rows)}</tbody></table>"


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Return a narrow table of names and values, without headings."""
    return f'<table class="narrow"><tbody>{_rows(rows)}</tbody></table>'


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"<tr>{''.join(_cell(text) for text in row)}</tr>" for row in rows)


def _cell(text: str) -> str:
    return text if text.startswith("<td") else f"<td>{text}</td>"


def bar(share: float, hot: bool = False) -> str:
    """Return a table cell with a bar filled to `share` (0..1)."""
    width = 100 * min(1.0, share)
    fill = f'<div class="fill{" hot" * hot}" style="width:{width:.1f}%"></div>'
    return f'<td class="bar"><div class="track">{fill}</div></td>'


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
