"""Write the data of `examples/own-data`: short headlines of three topics, from fixed sentence patterns.

`python -m tools.headlines` rewrites both files; equal code gives equal bytes. The words are in the vocabulary
of the embedded checkpoints.
"""

from __future__ import annotations

import csv
import itertools
import random
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "examples" / "own-data"
ROWS: Final = {"train": 180, "validation": 60}

_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_COMPANIES: Final = ("belcore", "corvane", "halvex", "kelmont", "norvane", "quandel", "umbrex", "zentrex")
_TEAMS: Final = ("bisons", "comets", "falcons", "harriers", "lynxes", "mariners", "rovers", "wolves")
_TOWNS: Final = ("ardmore", "dunmore", "fairview", "kenton", "oakdale", "salem", "trenton", "vernon")

# The pattern of each topic: a name, one of several events, and a day.
_TOPICS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "business": (
        _COMPANIES,
        (
            "shares of {} fell after lower quarterly earnings on {}",
            "{} reported higher profit and increased its earnings figure on {}",
            "{} agreed to buy a software unit for one billion on {}",
            "trading in {} stock closed higher on {}",
        ),
    ),
    "crime": (
        _TOWNS,
        (
            "police in {} arrested two men after a robbery on {}",
            "a judge in {} allowed the lawyer to wait until {}",
            "suspects in the {} theft were held in custody on {}",
            "the court in {} upheld the ruling against the attorney on {}",
        ),
    ),
    "sport": (
        _TEAMS,
        (
            "the {} won at home and moved to the top on {}",
            "the {} were beaten by one point on {}",
            "the {} lost the last quarter and dropped a position on {}",
            "largest margin of the year as the {} defeated the herons on {}",
        ),
    ),
}


def headlines(seed: int = 0) -> list[tuple[str, str]]:
    """Return every headline with its topic, shuffled; no headline occurs twice."""
    rows = [
        (event.format(name, day), topic)
        for topic, (names, events) in _TOPICS.items()
        for name, event, day in itertools.product(names, events, _DAYS)
    ]
    random.Random(seed).shuffle(rows)  # noqa: S311 - an order of rows, not a secret
    return rows


def write(folder: Path = FOLDER) -> None:
    """Write `train.csv` and `validation.csv`."""
    rows = iter(headlines())
    for split, count in ROWS.items():
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("headline", "topic"))
            writer.writerows(itertools.islice(rows, count))


if __name__ == "__main__":
    write()
