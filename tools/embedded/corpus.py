"""The embedded corpus: synthetic news-like sentence pairs in MRPC's schema, made anew from a seed.

An event is a handful of facts. A positive pair says one event twice, with other words, another order of
clauses and sometimes a detail left out. A negative pair says an event and a near copy of it in which one
to three facts are others: a name, a place, a number, a day, or what happened turned into its opposite.
So, as in MRPC, both kinds share most of their words, and counting words does not tell them apart. A share
of the pairs (`DISAGREEMENT`) carries the other label, as annotators disagree. Nothing is copied from MRPC.

`python -m tools.embedded.corpus FOLDER` writes the three splits as Parquet files.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from tools.embedded import corpus_words as words
from tools.embedded.corpus_words import Topic

CORPUS_VERSION: Final = "1"
DISAGREEMENT: Final = 0.04
# A quarter of MRPC's 3,668 / 408 / 1,725 pairs, with its shares of positives: (pairs, positives).
SPLITS: Final = {"train": (917, 618), "validation": (102, 70), "test": (431, 287)}


class Pair(NamedTuple):
    """One row: `label` is 1 where the sentences mean the same."""

    sentence1: str
    sentence2: str
    label: int


@dataclass(frozen=True)
class _Event:
    topic: Topic
    happened: bool
    facts: dict[str, str]
    details: tuple[tuple[str, ...], ...]
    fillers: tuple[tuple[str, ...], ...]


def generate_corpus(seed: int = 0) -> dict[str, list[Pair]]:
    """The three splits; no pair is in two of them, and none twice in one, in either order."""
    stream = random.Random(f"{CORPUS_VERSION}:{seed}")  # noqa: S311 - sentences, not secrets
    seen: set[frozenset[str]] = set()
    corpus: dict[str, list[Pair]] = {}
    for split, (count, positives) in SPLITS.items():
        labels = [1] * positives + [0] * (count - positives)
        stream.shuffle(labels)
        corpus[split] = [_new_pair(stream, label, seen) for label in labels]
    return corpus


def generate_pairs(seed: str) -> Iterator[Pair]:
    """Pairs without end, half of each label, none of them disagreed on: what the checkpoints learned from."""
    stream = random.Random(f"{CORPUS_VERSION}:pairs:{seed}")  # noqa: S311 - sentences, not secrets
    while True:
        label = int(stream.random() < 0.5)
        yield Pair(*_sentences(stream, same=label == 1), label)


def _new_pair(stream: random.Random, label: int, seen: set[frozenset[str]]) -> Pair:
    while True:
        agrees = stream.random() >= DISAGREEMENT
        sentences = _sentences(stream, same=(label == 1) == agrees)
        # A sentence beside itself would be no paraphrase.
        if sentences[0] != sentences[1] and frozenset(sentences) not in seen:
            seen.add(frozenset(sentences))
            return Pair(*sentences, label)


def _sentences(stream: random.Random, *, same: bool) -> tuple[str, str]:
    event = draw_event(stream)
    changed = set() if same else facts_to_change(stream, event)
    other = with_changes(stream, event, changed)
    # What differs must be said on both sides; a detail whose facts agree may be left out on one.
    first, second = tell(stream, event), tell(stream, with_less(stream, other, changed))
    return (first, second) if stream.random() < 0.5 else (second, first)


def draw_event(stream: random.Random) -> _Event:
    """Return a new event: its facts, and how much of it is told."""
    company, rival = stream.sample(words.COMPANIES, 2)
    team, guest = stream.sample(words.TEAMS, 2)
    place, other = stream.sample(words.PLACES, 2)
    role = stream.randrange(len(words.ROLES))
    facts = {
        "company": company,
        "rival": rival,
        "team": team,
        "guest": guest,
        "place": place,
        "other": other,
        "number": str(stream.randint(2, 60)),
        "second": str(stream.randint(2, 60)),
        "amount": f"{stream.randint(1, 30)}.{stream.randint(1, 9)}",
        "day": stream.choice(words.DAYS),
        "month": stream.choice(words.MONTHS),
        "year": str(stream.randint(1990, 2002)),
        "first": stream.choice(words.FIRST_NAMES),
        "surname": stream.choice(words.SURNAMES) if stream.random() < 0.5 else "",
        "role": str(role),
    }
    # Few details and many make short and long pairs; MRPC's lengths spread as widely.
    details = stream.choices((0, 1, 2, 3), (46, 40, 12, 2))[0]
    fillers = stream.choices((0, 1, 2), (62, 28, 10))[0]
    return _Event(
        topic=stream.choice(words.TOPICS),
        happened=stream.random() < 0.5,
        facts=facts,
        details=tuple(stream.sample(words.DETAILS, details)),
        fillers=tuple(stream.sample(words.FILLERS, fillers)),
    )


def facts_to_change(stream: random.Random, event: _Event) -> set[str]:
    """Return one to three facts of an event."""
    used = [fact for fact in event.facts if f"{{{fact}}}" in _template(event)]
    used += ["surname"] if event.facts["surname"] else []
    return set(stream.sample(["happened", "day", *used], stream.choices((1, 2, 3), (30, 40, 30))[0]))


def _template(event: _Event) -> str:
    said = event.topic.ways if event.happened else event.topic.opposite
    return said[0]


_VALUES: Final = {
    "company": words.COMPANIES,
    "rival": words.COMPANIES,
    "team": words.TEAMS,
    "guest": words.TEAMS,
    "place": words.PLACES,
    "day": words.DAYS,
    "surname": words.SURNAMES,
}


def with_changes(stream: random.Random, event: _Event, changed: set[str]) -> _Event:
    """Return the event with other values of these facts."""
    facts = dict(event.facts)
    for fact in sorted(changed - {"happened"}):
        while facts[fact] in event.facts.values():
            facts[fact] = _value(stream, fact)
    return replace(event, facts=facts, happened=event.happened != ("happened" in changed))


def _value(stream: random.Random, fact: str) -> str:
    if fact == "amount":
        return f"{stream.randint(1, 30)}.{stream.randint(1, 9)}"
    return str(stream.randint(2, 60)) if fact == "number" else stream.choice(_VALUES[fact])


def with_less(stream: random.Random, event: _Event, changed: set[str]) -> _Event:
    """The event as a second reporter tells it: now and then without a detail or a filler of the first."""
    facts = event.facts
    if not changed & {"day"} and stream.random() < 0.15:
        facts = {**facts, "day": ""}
    details = tuple(d for d in event.details if stream.random() < 0.85)
    fillers = tuple(f for f in event.fillers if stream.random() < 0.5)
    return replace(event, facts=facts, details=details, fillers=fillers)


def tell(stream: random.Random, event: _Event) -> str:
    """Return a sentence about the event."""
    ways = event.topic.ways if event.happened else event.topic.opposite
    said = stream.choice(ways)
    facts = event.facts
    when = f"on {facts['day']}" if facts["day"] else ""
    tail = [stream.choice(ways) for ways in stream.sample(event.details, len(event.details))]
    tail += [stream.choice(ways) for ways in event.fillers]
    text = _attributed(stream, said, when, facts) if facts["surname"] else _dated(stream, said, when)
    return _tidy(" , ".join([text, *tail]).format_map(facts))


def _dated(stream: random.Random, said: str, when: str) -> str:
    return f"{when} {said}" if when and stream.random() < 0.4 else f"{said} {when}"


def _attributed(stream: random.Random, said: str, when: str, facts: dict[str, str]) -> str:
    role = stream.choice(words.ROLES[int(facts["role"])])
    who = f"{role} {facts['first']} {facts['surname']}"
    return stream.choice(
        (
            f"{who} said {when} {said}",
            f"{said} {when} , {who} said",
            f"{_dated(stream, said, when)} , according to {who}",
            f"{said} , {who} told reporters {when}",
        )
    )


def _tidy(text: str) -> str:
    text = " ".join(text.split()).replace(" ,", ",")
    return f"{text[0].upper()}{text[1:]}."


def write_corpus(folder: Path) -> None:
    """Write `train`, `validation` and `test` as Parquet with MRPC's columns and label names."""
    import pyarrow as pa  # noqa: PLC0415 - only the one who rebuilds the corpus pays for it
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    folder.mkdir(parents=True, exist_ok=True)
    for split, pairs in generate_corpus().items():
        columns = {
            "sentence1": [pair.sentence1 for pair in pairs],
            "sentence2": [pair.sentence2 for pair in pairs],
            "label": pa.array([pair.label for pair in pairs], pa.int64()),
            "idx": pa.array(range(len(pairs)), pa.int32()),
        }
        pq.write_table(pa.table(columns), folder / f"{split}.parquet", compression="zstd")


if __name__ == "__main__":
    write_corpus(Path(sys.argv[1]))
