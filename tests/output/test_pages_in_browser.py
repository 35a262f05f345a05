"""Pages in a real browser: every width, scheme and medium, without scripts or style sheets, for everyone."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from harness.output.formats.known_formats import render
from tests.output.hostile import HOSTILE, hostile_documents
from tests.output.pages import PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

# A4 without margins of 12 mm, in CSS pixels.
PRINTED: Final = {"width": 703, "height": 1032}
MARGINS: Final = dict.fromkeys(("top", "bottom", "left", "right"), "12mm")
# Overlapping boxes of words of one picture, and words that leave it.
CLASHES: Final = """() => [...document.querySelectorAll('svg')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].map(
    text => [text.textContent, text.getBoundingClientRect()]);
  const slack = 0.06 * frame.width / 42;
  const outside = texts.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1
    || box.top < frame.top - 1 || box.bottom > frame.bottom + 1).map(([words]) => 'outside: ' + words);
  const clashing = texts.flatMap(([words, a], at) => texts.slice(at + 1).filter(([, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > slack
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.3 * Math.min(a.height, b.height)
  ).map(([other]) => words + ' | ' + other));
  return [...outside, ...clashing];
})"""
DRAWN: Final = """() => [...document.querySelectorAll('figure')].map(figure => [
  [...figure.querySelectorAll('svg text, svg g title')].filter(text => !text.closest('.ticks'))
    .map(text => text.textContent),
  [...figure.querySelectorAll('td, th')].map(cell => cell.textContent).join(' ')])"""
LOOKS: Final = """() => [...document.querySelectorAll('svg')].map(svg =>
  [...svg.querySelectorAll('g[class^=c]')].map(
    group => [getComputedStyle(group).stroke, group.getAttribute('stroke')]))"""
AXE: Final = """async () => (await axe.run()).violations.map(
  found => found.id + ': ' + found.nodes.map(node => node.html.slice(0, 120)).join(' ; '))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; skips without it or without Playwright."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is missing: pip install playwright"
    )
    chromium = os.environ.get("HARNESS_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is missing: apt-get install chromium, or set HARNESS_CHROMIUM to its path")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every page as a file, by name."""
    folder = tmp_path_factory.mktemp("pages")
    for name, document in PAGES.items():
        (folder / f"{name}.html").write_text(render(document(), "html"), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in PAGES}


def opened(browser: Browser, file: Path, width: int = 1400, **options: Any) -> Page:
    """A page in its context; a request or a message of its console fails the test."""
    page = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
    page.on("request", lambda request: _only(request.url, file.as_uri()))
    page.on("console", lambda message: pytest.fail(f"{file.name}: {message.text}"))
    page.on("pageerror", lambda error: pytest.fail(f"{file.name}: {error}"))
    page.goto(file.as_uri())
    return page


def _only(url: str, allowed: str) -> None:
    assert url == allowed, url


@pytest.mark.parametrize("name", PAGES)
def test_no_words_of_a_picture_overlap_at_any_width_and_the_page_never_scrolls_sideways(
    browser: Browser, files: dict[str, Path], name: str
) -> None:
    for width, scheme in ((1400, "light"), (800, "dark"), (400, "light")):
        page = opened(browser, files[name], width, color_scheme=scheme)
        assert page.evaluate(CLASHES) == [], (width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_every_number_of_a_picture_is_in_its_table(
    browser: Browser, files: dict[str, Path], name: str
) -> None:
    page = opened(browser, files[name])
    figures = page.evaluate(DRAWN)
    assert figures
    for texts, table in figures:
        assert texts
        for number in (each for text in texts for each in re.findall(r"\d+(?:[.,]\d+)*", text)):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", table), (number, table)
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_violation(browser: Browser, files: dict[str, Path], name: str) -> None:
    package = os.environ.get("HARNESS_AXE_CORE")
    if package is None:
        pytest.skip("axe-core is missing: set HARNESS_AXE_CORE to the file that `npm pack axe-core` writes")
    with tarfile.open(package) as packed:
        found = packed.extractfile("package/axe.min.js")
        assert found is not None
        script = found.read().decode("utf-8")
    for scheme in ("light", "dark"):
        page = opened(browser, files[name], color_scheme=scheme)
        page.evaluate("() => document.querySelectorAll('details').forEach(each => each.open = true)")
        page.evaluate(script)
        assert page.evaluate(AXE) == [], scheme
        page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_prints_whole_tables_on_few_sheets(
    browser: Browser, files: dict[str, Path], name: str
) -> None:
    page = opened(browser, files[name], color_scheme="dark")
    page.set_viewport_size(PRINTED)  # type: ignore[arg-type]
    page.emulate_media(media="print")
    edges = page.evaluate(
        "() => [...document.querySelectorAll('main > * td, main > * th, svg')]"
        ".map(each => each.getBoundingClientRect().right)"
    )
    assert max(edges) <= PRINTED["width"]
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    sheets = page.pdf(format="A4", margin=MARGINS)  # type: ignore[arg-type]
    assert len(re.findall(rb"/Type\s*/Page\b", sheets)) <= 4
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_complete_without_scripts(browser: Browser, files: dict[str, Path], name: str) -> None:
    shots = []
    for enabled in (True, False):
        page = opened(browser, files[name], 800, java_script_enabled=enabled)
        shots.append(page.screenshot())
        page.context.close()
    assert shots[0] == shots[1]


@pytest.mark.parametrize("name", PAGES)
def test_pictures_tell_variants_apart_without_style_sheets(
    browser: Browser, files: dict[str, Path], name: str
) -> None:
    page = opened(browser, files[name])
    page.evaluate("() => { document.styleSheets[0].disabled = true; }")
    for looks in page.evaluate(LOOKS):
        assert looks
        for shown, written in looks:
            assert shown == f"rgb({', '.join(str(byte) for byte in bytes.fromhex(written[1:]))})"
    assert page.evaluate(CLASHES) == []
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_forced_colours_keep_every_mark_visible(browser: Browser, files: dict[str, Path], name: str) -> None:
    page = opened(browser, files[name], forced_colors="active")
    paper, ink = page.evaluate(
        "() => [getComputedStyle(document.body)].flatMap(look => [look.backgroundColor, look.color])"
    )
    assert paper != ink
    for looks in page.evaluate(LOOKS):
        assert {shown for shown, _ in looks} == {ink}
    page.context.close()


@pytest.mark.parametrize("text", [text for text in HOSTILE if "<" in text or "javascript:" in text])
def test_a_hostile_name_asks_for_nothing_and_runs_nothing(
    browser: Browser, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "hostile.html"
    file.write_text(render(hostile_documents(text)["report"], "html"), encoding="utf-8")
    page = opened(browser, file)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    assert page.evaluate("document.querySelectorAll('img, a, script, evil').length") == 0
    assert page.evaluate("document.querySelectorAll('figure').length") >= 2
    page.context.close()


def test_a_planted_clash_and_a_planted_number_are_found(browser: Browser, files: dict[str, Path]) -> None:
    page = opened(browser, files["run"])
    page.evaluate(
        "() => { const text = document.querySelector('svg > g.halo text');"
        "const twin = text.cloneNode(true); twin.textContent = '12345'; text.parentNode.append(twin); }"
    )
    assert page.evaluate(CLASHES)
    texts, table = page.evaluate(DRAWN)[0]
    assert "12345" in " ".join(texts)
    assert "12345" not in table
    page.context.close()
