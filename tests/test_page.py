import re

import pytest

from fpga_facedet import page
from tests.html_page import Page


def whole(body: str = "") -> str:
    return page.page("A title", "a remark", [page.section("Part", "What it is.", body)], "Small print.")


def test_a_page_is_well_formed_and_loads_nothing() -> None:
    body = page.table(("a", page.left("b")), [("1", page.bar(0.25, True, (0.5, 1.5)))], dense=True)
    source = whole(body + page.chain(["x", "y"]) + page.pairs([("k", "v")]))
    read = Page(source)
    assert read.headings == ["Part"] and not read.loads
    assert "url(" not in source and "@import" not in source and "//" not in source
    assert all(part in read.text for part in ("A title", "a remark", "What it is.", "Small print.", "x", "v"))


def test_it_suits_phones_dark_rooms_and_paper() -> None:
    source = whole()
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in source
    assert '<html lang="en">' in source and "<!doctype html>" in source
    for rule in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem", "print-color-adjust: exact"):
        assert rule in source, rule
    # A backslash of CSS that Python doubled would show as text.
    assert re.search(r'content: "\\2192"', source)


def test_a_bar_shows_its_share_and_the_marks_on_it() -> None:
    table = Page(whole(page.table(("a", ""), [("1", page.bar(0.256, marks=(0.85, 1.2))), ("2", page.bar(1.7))])))
    (found,) = table.tables["Part"]
    assert found.bars == [25.6, 100.0] and found.marks == [[85.0], []]
    assert "fill hot" in page.bar(0.1, True) and "hot" not in page.bar(0.1)


def test_a_section_without_a_body_has_no_empty_box() -> None:
    assert "scroll" not in page.section("Part", "Remark.", "")
    assert 'class="scroll" tabindex="0"' in page.section("Part", "Remark.", "body")


def test_headings_and_cells_may_bring_their_own_tag() -> None:
    found = page.table(("a", page.left("b")), [('<td class="text">x</td>', "y")])
    assert '<th scope="col">a</th><th scope="col" class="text">b</th>' in found
    assert '<tr><td class="text">x</td><td>y</td></tr>' in found
    assert "dense" not in found and 'class="dense"' in page.table(("a",), [], dense=True)


def test_a_drawing_says_what_is_seen_or_that_it_only_decorates() -> None:
    assert 'role="img" aria-label="three lines"' in page.drawing(10, 5, "three lines", ["<line/>"])
    assert 'viewBox="0 0 10 5" aria-hidden="true"' in page.svg(10, 5, "", [])


@pytest.mark.parametrize("broken", ["<p>open", "<b>a</i>", "<table><tr><td>a</td></table>"])
def test_the_checker_of_these_tests_sees_what_is_broken(broken: str) -> None:
    with pytest.raises((AssertionError, IndexError)):
        Page(broken)


def test_names_break_behind_their_words() -> None:
    assert page.breakable("StreamingMaxPool_rtl_0") == "Streaming<wbr>Max<wbr>Pool_<wbr>rtl_<wbr>0"
    assert page.breakable("MVAU_0<b>") == "MVAU_<wbr>0&lt;b&gt;" and page.breakable("plain") == "plain"
