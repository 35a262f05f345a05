"""Any text, not only the hostile ones that come to mind, goes through each format's escaping unharmed."""

from __future__ import annotations

import csv
import html
import io
import json
import urllib.parse
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.output.document import Case, Document
from harness.output.formats.github import command_message, command_property
from harness.output.formats.json_text import safe_json
from harness.output.formats.junit import to_junit
from harness.output.formats.markdown import markdown_text
from harness.output.formats.markup import html_text
from harness.output.formats.spreadsheet import csv_cell
from harness.output.safe_text import safe_text

SIGNS = "\\`*_{}[]<>()#+-=.!|~$@:&;/\"'% \n\t0a"
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40) | st.text(SIGNS, max_size=20)
MARKDOWN = MarkdownIt("gfm-like", {"linkify": False})


@given(ANY_TEXT)
def test_markdown_shows_any_text_as_it_stands(text: str) -> None:
    tokens = MARKDOWN.parse(f"- x {markdown_text(text)}")
    (inline,) = [token for token in tokens if token.type == "inline"]
    children = [child for child in inline.children or () if child.type != "html_inline"]
    assert {child.type for child in children} <= {"text", "text_special"}
    shown = "".join(child.content for child in children)
    assert shown.split() == f"x {safe_text(text.strip())}".split()


@given(ANY_TEXT)
def test_a_list_item_of_any_text_is_one_paragraph(text: str) -> None:
    kinds = [token.type for token in MARKDOWN.parse(f"- {markdown_text(text)}") if token.nesting >= 0]
    assert kinds in (
        ["bullet_list_open", "list_item_open", "paragraph_open", "inline"],
        ["bullet_list_open", "list_item_open"],
    )


@given(st.lists(ANY_TEXT, min_size=1, max_size=3))
def test_a_table_row_of_any_texts_keeps_its_cells(texts: list[str]) -> None:
    rule = " | ".join("---" for _ in texts)
    cells = " | ".join(f"x{markdown_text(text)}" for text in texts)
    tokens = MARKDOWN.parse(f"| {cells} |\n| {rule} |\n")
    assert sum(token.type == "th_open" for token in tokens) == len(texts)


@given(ANY_TEXT)
def test_html_gives_any_text_back(text: str) -> None:
    assert html.unescape(html_text(text)) == safe_text(text)
    assert not set(html_text(text)) & set("<>\"'")


@given(ANY_TEXT)
def test_xml_gives_any_text_back(text: str) -> None:
    cases = (Case(text, text, "error", text, text),)
    document = Document(kind="check", title="x", model={}, name=text, cases=cases)
    case = ET.fromstring(to_junit(document))[0][0]
    assert case.attrib["name"] == safe_text(text)
    assert case[0].attrib["message"] == safe_text(text)


@given(ANY_TEXT)
def test_csv_gives_any_text_back_as_text(text: str) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow([csv_cell(text)])
    ((cell,),) = csv.reader(io.StringIO(out.getvalue()))
    assert cell in (safe_text(text), f"'{safe_text(text)}")
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))


@given(ANY_TEXT)
def test_a_workflow_command_gives_any_text_back(text: str) -> None:
    assert urllib.parse.unquote(command_message(text)) == safe_text(text)
    assert not set(command_property(text)) & set(":,\n\r")


@given(st.text(max_size=40))
def test_safe_json_means_the_same(text: str) -> None:
    document = json.dumps({text: [text, 1.5]}, ensure_ascii=False, indent=2)
    assert json.loads(safe_json(document)) == json.loads(document)
    assert all(line.isprintable() for line in safe_json(document).split("\n"))
