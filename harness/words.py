"""Text for messages: quoted values, suggestions for typing mistakes, and plurals."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

# Longer text is not a typing mistake, and difflib takes quadratic time over it.
_LONGEST_NAME: Final = 100


def quoted(text: str, limit: int = 60) -> str:
    """Return a user's text in quotes, shortened, with control characters escaped.

    >>> quoted("eval_f1")
    "'eval_f1'"
    """
    return repr(text if len(text) <= limit else f"{text[:limit]}...")


def nearest(wanted: str, known: Sequence[str]) -> str | None:
    """Return the known name that `wanted` probably means, or None if none is close.

    A unique name that starts with `wanted` comes first, then the smallest edit distance, then a unique name
    that contains it.

    >>> nearest("eval_acc", ["eval_accuracy", "eval_mcc"])
    'eval_accuracy'
    >>> nearest("eval_fl", ["eval_accuracy", "eval_f1"])
    'eval_f1'
    """
    if len(wanted) > _LONGEST_NAME:
        return None
    folded = wanted.casefold()
    starting = [name for name in known if len(folded) > 1 and name.casefold().startswith(folded)]
    if len(starting) == 1:
        return starting[0]
    found = difflib.get_close_matches(wanted, known, n=1, cutoff=0.6)
    if found:
        return found[0]
    containing = [name for name in known if len(folded) > 1 and folded in name.casefold()]
    return containing[0] if len(containing) == 1 else None


def did_you_mean(wanted: str, known: Sequence[str]) -> str:
    """Return ` (did you mean X?)`, all known names if none is close, or "" if there are no known names.

    >>> did_you_mean("eval_acc", ["eval_accuracy", "eval_mcc"])
    ' (did you mean eval_accuracy?)'
    """
    if not known:
        return ""
    found = nearest(wanted, known)
    return f" (did you mean {found}?)" if found is not None else f" (one of: {', '.join(known)})"


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "trial"), count(3668, "example")
    ('1 trial', '3,668 examples')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def one_line(text: str) -> str:
    r"""Return a message of several lines, such as a reason and its hint, as one line.

    >>> one_line("no such file\nRun `harness plan`.")
    'no such file; Run `harness plan`.'
    """
    return text.replace("\n", "; ")
