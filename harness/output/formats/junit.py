"""A document as JUnit XML, which CI systems read: its cases as test cases."""

from __future__ import annotations

from typing import Final
from xml.etree import ElementTree as ET

from harness.output.document import Case, Document
from harness.output.safe_text import safe_lines, safe_text

LONGEST_TEXT: Final = 2_000
MOST_LINES: Final = 500
_ELEMENTS: Final = {"failed": "failure", "error": "error", "skipped": "skipped"}


def xml_text(text: str) -> str:
    """Return the text with only characters that XML allows; the writer escapes its signs."""
    return safe_text(text, LONGEST_TEXT)


def to_junit(document: Document) -> str:
    """A `testsuites` element with one suite, the notes as its output; times are in seconds."""
    cases = list(document.cases)
    root = ET.Element("testsuites")
    counts = {
        "tests": len(cases),
        "failures": sum(case.status == "failed" for case in cases),
        "errors": sum(case.status == "error" for case in cases),
        "skipped": sum(case.status == "skipped" for case in cases),
    }
    attributes = {"name": xml_text(document.name), "time": f"{sum(case.seconds for case in cases):.3f}"}
    attributes |= {name: str(number) for name, number in counts.items()}
    suite = ET.SubElement(root, "testsuite", attributes)
    for case in cases:
        _add(suite, case)
    if document.notes:
        ET.SubElement(suite, "system-out").text = "\n".join(map(xml_text, document.notes))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _add(suite: ET.Element, case: Case) -> None:
    element = ET.SubElement(
        suite,
        "testcase",
        name=xml_text(case.name),
        classname=xml_text(case.classname),
        time=f"{case.seconds:.3f}",
    )
    if case.status == "passed":
        return
    outcome = ET.SubElement(element, _ELEMENTS[case.status], message=xml_text(case.message))
    lines = safe_lines(case.details)
    if len(lines) > MOST_LINES:
        lines = [f"({len(lines) - MOST_LINES:,} earlier lines are left out)", *lines[-MOST_LINES:]]
    outcome.text = "\n".join(line[:LONGEST_TEXT] for line in lines) or None
