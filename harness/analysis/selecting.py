"""Select variants by words of their labels: `lora and not static`, `minilm*`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase
from typing import Final

from harness.analysis.naming import labels
from harness.errors import InvalidInputError
from harness.model.results import Report
from harness.words import count, nearest, quoted

Matches = Callable[[str], bool]

_TOKEN: Final = re.compile(r"""[()]|"[^"]*"|'[^']*'|[^\s()"']+|["']""")
_OPERATORS: Final = frozenset({"and", "or", "not", "(", ")"})
_MOST_LABELS: Final = 8
_HINT: Final = (
    "Write words of labels with and, or, not: -k 'lora and not static', or a pattern: -k 'minilm*'."
)


def select(expression: str, labels: Sequence[str]) -> frozenset[str]:
    """Return the labels that an expression selects.

    A word selects each label that contains it, in any case; a word with `*` or `?` must match the whole
    label. Quotes keep spaces, parentheses and the words and, or, not.

    Raises:
        InvalidInputError: The expression cannot be read, or selects nothing.
    """
    reader = _Reader(expression)
    matches = reader.whole()
    found = frozenset(label for label in labels if matches(label.casefold()))
    if not found:
        raise _nothing(expression, reader.words, labels)
    return found


def selected(expression: str, reports: Sequence[Report]) -> tuple[tuple[Report, ...], str]:
    """Return the reports with the selected variants alone, and a sentence that tells how many these are.

    A label is that of the variant among all reports together, so that it selects the same variant in each.

    Raises:
        InvalidInputError: The expression cannot be read, or selects nothing.
    """
    names = labels(result.trial for report in reports for result in report.results)
    chosen = select(expression, list(names.values()))
    variants = {variant for variant, label in names.items() if label in chosen}
    return (
        tuple(_of_variants(report, variants) for report in reports),
        f"-k {quoted(expression, 200)}: {len(variants)} of {count(len(names), 'variant')}",
    )


def _of_variants(report: Report, variants: Collection[str]) -> Report:
    kept = [at for at, result in enumerate(report.results) if result.trial.variant_id in variants]
    session = report.session
    if session is not None:
        session = session.model_copy(update={"positions": tuple(session.positions[at] for at in kept)})
    results = tuple(report.results[at] for at in kept)
    return report.model_copy(update={"results": results, "session": session})


class _Reader:
    """Read an expression from left to right; `not` binds closest, then `and`, then `or`."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens: list[str] = _TOKEN.findall(expression)
        self._at = 0
        self.words: list[str] = []

    def whole(self) -> Matches:
        found = self._any()
        if self._at < len(self._tokens):
            raise self._refused(
                f"found {quoted(self._tokens[self._at])} where and, or or the end is expected"
            )
        return found

    def _any(self) -> Matches:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return lambda label: any(part(label) for part in parts)

    def _all(self) -> Matches:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return lambda label: all(part(label) for part in parts)

    def _one(self) -> Matches:
        negations = 0
        while self._take("not"):
            negations += 1
        found = self._group() if self._take("(") else self._word()
        return (lambda label: not found(label)) if negations % 2 else found

    def _group(self) -> Matches:
        found = self._any()
        if not self._take(")"):
            raise self._refused("a parenthesis is not closed")
        return found

    def _word(self) -> Matches:
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if token is None or token in _OPERATORS:
            raise self._refused(f"a word is missing {'at the end' if token is None else f'before {token}'}")
        if token in ("'", '"'):
            raise self._refused("a quote is not closed")
        self._at += 1
        word = token.strip(token[0]) if token[0] in "'\"" else token
        if not word:
            raise self._refused("a word is empty")
        self.words.append(word)
        folded = word.casefold()
        if "*" in word or "?" in word:
            pattern = folded.replace("[", "[[]")
            return lambda label: fnmatchcase(label, pattern)
        return lambda label: folded in label

    def _take(self, token: str) -> bool:
        taken = self._at < len(self._tokens) and self._tokens[self._at] == token
        self._at += taken
        return taken

    def _refused(self, why: str) -> InvalidInputError:
        return InvalidInputError(f"-k {quoted(self._expression, 200)}: {why}", hint=_HINT)


def _nothing(expression: str, words: Sequence[str], labels: Sequence[str]) -> InvalidInputError:
    """Return the error of an expression that selects nothing, with names near to words that no label has."""
    message = f"-k {quoted(expression, 200)} selects none of the variants"
    if not labels:
        return InvalidInputError(f"{message}: nothing has run", hint="Run the suite first: harness run.")
    parts = sorted({part for label in labels for part in (label, *re.split(r"[\s,/]+", label)) if part})
    unknown = [word for word in words if not any(word.casefold() in label.casefold() for label in labels)]
    near = list(dict.fromkeys(found for word in unknown if (found := nearest(word, parts)) is not None))
    shown = ", ".join(labels[:_MOST_LABELS])
    more = f" and {len(labels) - _MOST_LABELS} more" if len(labels) > _MOST_LABELS else ""
    hint = f"Did you mean {' or '.join(near)}?" if near else f"The variants are {shown}{more}."
    return InvalidInputError(message, hint=hint)
