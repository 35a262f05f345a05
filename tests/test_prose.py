"""Prose uses plain technical English: the words of an older dialect stay rare.

Docstrings, comments and messages are counted by `tools.prose`, folder by folder, and the documents together.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tools.prose import prose, words

# Phrases, and how often each may occur per 10,000 words. `stand-in` is a term and does not count.
LIMITS: Final[dict[str, int]] = {
    r"says?": 3,
    r"holds?": 3,
    r"stands?(?!-in)": 3,
    r"what (?:is|was|the)": 5,
    r"anew|alike|mends?|beside|spares?|brings?|of its own|nothing else": 5,
}
# A single occurrence in a small folder is no dialect.
TOLERATED: Final = 1

PACKAGE: Final = Path(__file__).parents[1] / "harness"
# Modules outside of every folder are counted together.
FOLDERS: Final = (".", *sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))


def folder_prose(folder: str) -> str:
    files = sorted(PACKAGE.glob("*.py") if folder == "." else (PACKAGE / folder).rglob("*.py"))
    return "\n\n".join(prose(path.read_text(encoding="utf-8")) for path in files)


def occurrences(text: str) -> Counter[str]:
    return Counter({each: len(re.findall(rf"\b(?:{each})\b", text, re.IGNORECASE)) for each in LIMITS})


def per_10_000_words(number: int, text: str) -> float:
    return 10_000 * number / len(words(text))


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_meets_the_limits(folder: str) -> None:
    text = folder_prose(folder)
    found = {
        phrase: number
        for phrase, number in occurrences(text).items()
        if number > TOLERATED and per_10_000_words(number, text) >= LIMITS[phrase]
    }
    assert found == {}, re.findall(rf".{{0,60}}\b(?:{'|'.join(found)})\b.{{0,20}}", text, re.IGNORECASE)


def test_all_folders_together_meet_the_limits() -> None:
    text = "\n\n".join(map(folder_prose, FOLDERS))
    rates = {phrase: per_10_000_words(number, text) for phrase, number in occurrences(text).items()}
    assert {phrase: rate for phrase, rate in rates.items() if rate >= LIMITS[phrase]} == {}


def test_the_documents_meet_the_limits() -> None:
    pages = [PACKAGE.parent / "README.md", *(PACKAGE.parent / "docs").rglob("*.md")]
    # Pages of the reference repeat texts of the package, with lines broken at hyphens.
    pages = [page for page in pages if page.parent.name != "reference"]
    text = "\n\n".join(page.read_text(encoding="utf-8") for page in pages)
    rates = {phrase: per_10_000_words(number, text) for phrase, number in occurrences(text).items()}
    assert {phrase: rate for phrase, rate in rates.items() if rate >= LIMITS[phrase]} == {}


def test_a_phrase_is_found_across_a_line_break_and_a_term_is_not() -> None:
    source = '"""Return what\n    is held. A stand-in. Beside."""\nraise ValueError("the file says no")\n'
    assert occurrences(prose(source)) == Counter(
        {r"what (?:is|was|the)": 1, r"says?": 1, list(LIMITS)[-1]: 1, r"holds?": 0, r"stands?(?!-in)": 0}
    )
