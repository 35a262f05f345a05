"""Document: the one neutral form of every result, from which each format is written.

All texts are raw. A format makes them safe and escapes its own signs, so a builder does neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar, overload

from harness.model.frozen import Frozen
from harness.model.status import CaseStatus
from harness.output.drawings import Drawing

Kind = Literal[
    "report",
    "comparison",
    "check",
    "list of proofs",
    "list of baselines",
    "history",
    "list of runs",
    "list of exports",
    "calibration",
    "rescoring",
    "plan",
    "inspection",
    "diagnosis",
]
Part = Literal["cases", "benchmarks"]
Layout = Literal["table", "lines", "rows"]
Tone = Literal["", "good", "bad"]
Value = str | float | int | bool | None

# The parts that a kind of document has and some formats need; the others are in every document.
PARTS: Final[dict[Kind, frozenset[Part]]] = {
    "report": frozenset({"cases", "benchmarks"}),
    "comparison": frozenset({"cases"}),
    "check": frozenset({"cases"}),
    "list of proofs": frozenset({"cases"}),
    "list of baselines": frozenset(),
    "history": frozenset(),
    "list of runs": frozenset(),
    "list of exports": frozenset(),
    "calibration": frozenset(),
    "rescoring": frozenset({"cases"}),
    "plan": frozenset(),
    "inspection": frozenset(),
    "diagnosis": frozenset({"cases"}),
}

Item = TypeVar("Item")
Source = TypeVar("Source")


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `title` carries the unit that its cells leave out.

    A cell whose tone is `good` or `bad` is emphasized; an empty `tones` emphasizes none. A narrow terminal
    leaves out `dispensable` columns first. A list shows a column that is `below` on a line below its row.
    """

    title: str
    cells: tuple[str, ...]
    numeric: bool = True
    dispensable: bool = False
    tones: tuple[Tone, ...] = ()
    below: bool = False

    def tone(self, row: int) -> Tone:
        """The tone of the cell in that row."""
        return self.tones[row] if self.tones else ""


@dataclass(frozen=True, slots=True)
class Ranking:
    """An order of rows for a page: the rank and the place of each, and how to read the ranks."""

    meaning: str = ""
    places: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A titled part of a document: columns, or pairs of a name and a text, with notes below them.

    `logs` are the last lines of logs, by name. A page shows the rows in the order of `ranking`, then the
    others.
    """

    title: str
    columns: tuple[Column, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    logs: tuple[tuple[str, str], ...] = ()
    ranking: Ranking = Ranking()


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of numbers, which `harness.output.plot.twin` writes as a table.

    Args:
        name: unique in its document.
        title: its heading.
        description: a sentence with its message, for a screen reader.
        drawing: the numbers.
        notes: how to read it, such as the interval that is drawn and omitted values.
        lead: a page shows it above the main table.
        repeats: every number of it is in the tables of the document, so that only a page shows it; a detail
            of the same title then lies under the picture.
    """

    name: str
    title: str
    description: str
    drawing: Drawing
    notes: tuple[str, ...] = ()
    lead: bool = False
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was checked: a gate, a trial, a row. `seconds` is how long it took."""

    name: str
    classname: str
    status: CaseStatus
    message: str = ""
    details: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One variant as a benchmark.

    `timed` is the metric of `seconds`, one number a round; `measures` has mean, smallest and largest value by
    metric. `marks` end the name, so that a tracker draws a stand-in as a separate line.
    """

    name: str
    marks: tuple[str, ...]
    timed: str
    seconds: tuple[float, ...]
    params: Mapping[str, str]
    extra: Mapping[str, object]
    measures: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class Machine:
    """The computer and the code that benchmarks were measured with; `commit` is None outside of git."""

    processor: str
    architecture: str
    logical_cores: int
    python: str
    system: str
    commit: str | None
    dirty: bool
    measured: datetime
    warmup_steps: int


@dataclass(frozen=True, slots=True)
class Each(Iterable[Item], Generic[Source, Item]):
    """Items that are made from their sources as they are read: a run can have 10,000 trials."""

    make: Callable[[Source], Item]
    sources: Sequence[Source]

    def __iter__(self) -> Iterator[Item]:
        return map(self.make, self.sources)


class Later(Sequence[Item]):
    """Items that are made when the first of them is used: a terminal shows no chart."""

    def __init__(self, make: Callable[[], Iterable[Item]]) -> None:
        """Keep the function that makes them."""
        self._make = make
        self._made: tuple[Item, ...] | None = None

    @property
    def _items(self) -> tuple[Item, ...]:
        if self._made is None:
            self._made = tuple(self._make())
        return self._made

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        return self._items[index]


@dataclass(frozen=True, slots=True)
class Document:
    """A result in words, tables, rows and cases.

    Args:
        kind: of which result.
        title: one line; `outcome` (PASS, FAIL) comes before it where only a heading is read.
        model: the content of the JSON format.
        answer: the result in one sentence, which a page and Markdown show first.
        remarks: reasons to doubt it, in a few words each.
        summary: the lines below the title.
        tables: the main table first; its title is a caption, and the notes follow it.
        details: tables that a terminal leaves out; Markdown shows them, and a page folds them.
        layout: how a terminal shows the tables: fitted to its width, as lines of any length, or as the bare
            rows of such lines.
        name: of the suite of cases.
        records: the lines of CSV, numbers in base units; the main table's cells where there are none.
        verdict: the last lines, which a script looks for.
        footer: where a page comes from.
    """

    kind: Kind
    title: str
    model: Frozen | Mapping[str, object]
    answer: str = ""
    remarks: tuple[str, ...] = ()
    summary: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    details: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    notes: tuple[str, ...] = ()
    layout: Layout = "table"
    outcome: str = ""
    name: str = ""
    records: Iterable[Mapping[str, Value]] = ()
    cases: Iterable[Case] = ()
    benchmarks: Iterable[Benchmark] = ()
    machine: Machine | None = None
    verdict: tuple[str, ...] = ()
    footer: str = ""

    @property
    def heading(self) -> str:
        """The title, after the outcome if there is one."""
        return f"{self.outcome}: {self.title}" if self.outcome else self.title


def failure_document(message: str, hint: str | None, exit_code: int, kind: Kind, command: str) -> Document:
    """An error in the place of a document of that kind; `exit_code` is the one the command ends with."""
    title = "nothing could be judged" if kind == "check" else "no result"
    return Document(
        kind=kind,
        title=title,
        outcome="FAIL",
        model={"error": message, "hint": hint, "exit_code": exit_code},
        summary=tuple(line for text in (message, hint or "") for line in text.splitlines() if line),
        name=f"harness {command}",
        records=[{"error": message}],
        cases=[Case(f"harness {command}", f"harness.{command}", "error", message, hint or "")],
        verdict=(f"harness check: FAIL {title} (exit code {exit_code})",) if kind == "check" else (),
    )
