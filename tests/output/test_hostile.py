from __future__ import annotations

import csv
import html.parser
import io
import json
import re
import unicodedata
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from harness.model.results import Report
from harness.output.document import PARTS, Document
from harness.output.formats.comment import MOST_CHARACTERS
from harness.output.formats.github import (
    active,
    command_message,
    command_property,
    step_summary,
    to_annotations,
)
from harness.output.formats.json_text import safe_json
from harness.output.formats.known_formats import formats_of, render
from harness.output.formats.markdown import markdown_text
from harness.output.formats.markup import html_text
from harness.output.formats.spreadsheet import csv_cell
from harness.output.formats.terminal import drawn, make_console
from harness.output.safe_text import safe_text
from tests.output.hostile import HOSTILE, hostile_documents, hostile_report
from tests.output.written import written

WRITTEN = [
    *((kind, name) for kind in PARTS for name in formats_of(kind)),
    *(("failure", name) for name in formats_of("check")),
]
NAMES = [repr(text)[:24] for text in HOSTILE]


def _unseen(shown: str) -> set[str]:
    """Characters that control, hide or cannot be encoded, line ends aside."""
    bad = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {one for one in shown if one not in "\n\r" and unicodedata.category(one) in bad}


@pytest.mark.parametrize("text", HOSTILE, ids=NAMES)
@pytest.mark.parametrize(("kind", "name"), WRITTEN)
def test_no_format_of_any_document_lets_a_hostile_text_through(kind: str, name: str, text: str) -> None:
    if name == "json" and "\ud800" in text:
        pytest.skip("a model with a lone surrogate is refused before it is written")
    shown = render(hostile_documents(text)[kind], name)
    assert _unseen(shown) == set()
    shown.encode("utf-8")
    if name != "github":
        assert not re.search(r"^\s*::\w", shown, re.MULTILINE)
    assert "##[" not in shown
    CHECKS.get(name, lambda _: None)(shown)


def test_there_is_a_hostile_document_of_every_kind() -> None:
    assert {*PARTS, "failure"} == {*hostile_documents("x")}


@pytest.mark.parametrize("text", HOSTILE, ids=NAMES)
@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("kind", [*PARTS, "failure"])
def test_a_terminal_of_any_width_gets_only_our_own_escapes(kind: str, width: int, text: str) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(drawn(hostile_documents(text)[kind]))
    without_style = re.sub(r"\x1b\[[0-9;]*m", "", capture.get())
    assert _unseen(without_style) == set()
    assert not re.search(r"^\s*::[a-z-]+( [^\n]*)?::", without_style, re.MULTILINE)


@pytest.mark.parametrize("text", [one for one in HOSTILE if "\ud800" not in one])
def test_the_same_json_comes_back_and_none_of_it_acts(text: str) -> None:
    report = hostile_report(text)
    # A suite's name and a trial's device are all that validation refuses.
    report = report.model_copy(update={"suite": report.suite.model_copy(update={"name": "padding"})})
    shown = written(report, "json")
    assert "::" not in shown
    assert Report.model_validate_json(shown).model_copy(update={"digest": None}) == report


def _check_markdown(shown: str) -> None:
    parser = MarkdownIt("gfm-like", {"linkify": False})
    tokens = [child for token in parser.parse(shown) for child in (token, *(token.children or ()))]
    kinds = {token.type for token in tokens}
    assert not kinds & {"html_block", "link_open", "image", "code_inline", "fence", "strong_open", "em_open"}
    assert all(token.content == "<!-- -->" for token in tokens if token.type == "html_inline")
    widths = {
        line.count("|") - line.count("\\|") for line in shown.splitlines() if line.startswith("| static")
    }
    assert len(widths) <= 1


def _check_comment(shown: str) -> None:
    first, _, rest = shown.partition("\n")
    assert re.fullmatch(r"<!-- harness [a-z ]+: [\w. ]* -->", first)
    assert len(shown) <= MOST_CHARACTERS
    _check_markdown(rest)


def _check_csv(shown: str) -> None:
    records = list(csv.reader(io.StringIO(shown, newline="")))
    assert len(records) > 1
    assert len({len(record) for record in records}) == 1
    for cell in (cell for record in records for cell in record):
        assert not cell.startswith(("=", "+", "@", "\t", "\r"))
        assert not cell.startswith("-") or float(cell) <= 0


def _check_xml(shown: str) -> None:
    root = ET.fromstring(shown)
    assert {element.tag for element in root.iter()} <= {
        "testsuites", "testsuite", "testcase", "error", "failure", "skipped", "system-out"
    }  # fmt: skip


OUR_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "div", "ul", "li"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "pre", "strong"),
    *("figure", "figcaption", "details", "summary", "svg", "desc", "defs", "pattern", "g", "text", "rect"),
    *("circle", "path", "polyline", "polygon"),
}


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name, value)
            assert name not in ("src", "href", "srcset", "action")


def _check_html(shown: str) -> None:
    page = _Page()
    page.feed(shown)
    assert page.found <= OUR_TAGS


def _check_annotations(shown: str) -> None:
    for line in shown.splitlines():
        command = re.fullmatch(r"::(error|warning) title=([^:,]*)::(.*)", line)
        assert command is not None, line
        assert not re.search(r"%(?!25|0A|0D|3A|2C)", line)


def _check_json(shown: str) -> None:
    json.loads(shown)


CHECKS = {
    "comment": _check_comment,
    "markdown": _check_markdown,
    "csv": _check_csv,
    "junit": _check_xml,
    "html": _check_html,
    "github": _check_annotations,
    "pytest-benchmark": _check_json,
    "bmf": _check_json,
}


@pytest.mark.parametrize("text", [one for one in HOSTILE if len(one) < 1_000])
def test_markdown_shows_a_text_as_it_stands(text: str) -> None:
    paragraph = MarkdownIt("gfm-like", {"linkify": False}).parse(f"a {markdown_text(text)}")[1]
    assert paragraph.children is not None
    shown = "".join(child.content for child in paragraph.children if child.type != "html_inline")
    assert shown == f"a {safe_text(text)}"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("bert-base-uncased eval_f1", "bert-base-uncased eval_f1"),
        ("1. one", "1\\. one"),
        ("85.8 %", "85.8 %"),
        ("- item", "\\- item"),
        ("_em_", "\\_em\\_"),
        ("@team and a@b.c", "@<!-- -->team and a@<!-- -->b.c"),
        ("https://evil www.evil.com", "https\\://evil www\\.evil.com"),
    ],
)
def test_markdown_escapes_no_more_than_it_must(text: str, escaped: str) -> None:
    assert markdown_text(text) == escaped


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("-0.5", "'-0.5"),
        ("  @x", "'  @x"),
        ("\t=1", "\\t=1"),
        ("＝1", "'＝1"),  # noqa: RUF001 - the wide form is meant
        ("a=b", "a=b"),
    ],
)
def test_a_cell_is_never_a_formula(text: str, cell: str) -> None:
    assert csv_cell(text) == cell


def test_html_escapes_attributes_too() -> None:
    assert html_text("<a b=\"c\" d='e'>&") == "&lt;a b=&quot;c&quot; d=&#x27;e&#x27;&gt;&amp;"


def test_workflow_commands_escape_their_own_signs() -> None:
    assert command_message("50%: a,b") == "50%25: a,b"
    assert command_property("50%: a,b") == "50%25%3A a%2Cb"
    assert to_annotations(Document(kind="check", title="x", model={})) == ""
    assert active({"GITHUB_ACTIONS": "true"})
    assert not active({})


def test_a_step_summary_is_cut_inside_the_limit_and_says_so() -> None:
    assert step_summary("# short\n") == "# short\n"
    cut = step_summary("ä line of the summary\n" * 100_000)
    assert len(cut.encode()) <= 1024 * 1024
    assert cut.endswith(
        "summary\n\nThe rest is left out: a step summary is limited to 1 MiB. The report has everything.\n"
    )


def test_json_outside_ascii_is_escaped_only_where_it_is_unseen() -> None:
    assert safe_json('{"größe": "\u202e\U000e0041\x9b"}') == '{"größe": "\\u202e\\udb40\\udc41\\u009b"}'


def test_the_console_is_wide_off_a_terminal() -> None:
    assert make_console(io.StringIO()).width >= 120
