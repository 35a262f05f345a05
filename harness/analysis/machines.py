"""Several machines: each variant's speed relative to the same baseline variant on the same machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from harness.analysis.comparison.conditions import device_name, environment_of
from harness.analysis.leading import unusable
from harness.analysis.naming import axes, label, shown_axes, telling_axes
from harness.analysis.rows import Row
from harness.analysis.summary import summarize
from harness.model.results import Report, TrialResult

_LIBRARIES: Final = ("torch", "transformers")


@dataclass(frozen=True, slots=True)
class Speed:
    """Real tokens per second of a variant on one machine.

    `ratio` is that over the baseline variant's on the same machine. `doubt` is the reason why the speed is
    not comparable: then it has no ratio.
    """

    value: float
    ratio: float | None
    doubt: str


@dataclass(frozen=True, slots=True)
class Column:
    """One machine: the name of its report, its device, and the software stack as pairs of name and text."""

    report: str
    device: str
    stack: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Machines:
    """The speeds of all variants, by label, in the order of the columns; None where a machine has none.

    `baseline` is the label of the first variant with a comparable speed on every machine; None without one.
    """

    columns: tuple[Column, ...]
    baseline: str | None
    variants: tuple[tuple[str, tuple[Speed | None, ...]], ...]


def machines(
    reports: Sequence[tuple[str, Report]], rows: Callable[[Report], Sequence[Row]] = summarize
) -> Machines | None:
    """Return the machines of named reports; None where only one device has speeds.

    Variants are matched on all axes except the device and the seed.

    Args:
        reports: the reports by name.
        rows: returns the summary of a report, which a single device does not need.
    """
    completed = (each for _, report in reports for each in report.results if each.status == "completed")
    if len(set(map(device_name, completed))) < 2:
        return None
    found: dict[tuple[int, str], tuple[Column, dict[tuple[tuple[str, str], ...], Row]]] = {}
    for place, (name, report) in enumerate(reports):
        variants = report.variants()
        for row in rows(report):
            if row.speed is None:
                continue
            column = _column(name, report, variants[row.variant])
            _, by_axes = found.setdefault((place, column.device), (column, {}))
            by_axes.setdefault(tuple((k, v) for k, v in axes(row.trial).items() if k != "device"), row)
    if len({device for _, device in found}) < 2:
        return None
    keys = list(dict.fromkeys(key for _, rows in found.values() for key in rows))
    shown = shown_axes(map(dict, keys))
    varying = telling_axes(shown) or ("checkpoint", "padding")
    names = [label(values, varying) for values in shown]
    every = [rows for _, rows in found.values()]
    baseline = next(
        (key for key in keys if all(key in rows and not unusable(rows[key]) for rows in every)), None
    )
    return Machines(
        tuple(column for column, _ in found.values()),
        None if baseline is None else names[keys.index(baseline)],
        tuple(
            (
                name,
                tuple(_speed(rows.get(key), None if baseline is None else rows[baseline]) for rows in every),
            )
            for name, key in zip(names, keys, strict=True)
        ),
    )


def _speed(row: Row | None, baseline: Row | None) -> Speed | None:
    if row is None or row.speed is None:
        return None
    doubt = unusable(row)
    of = None if doubt or baseline is None else baseline.speed
    return Speed(row.speed, row.speed / of if of else None, doubt)


def _column(name: str, report: Report, results: Sequence[TrialResult]) -> Column:
    """Return the device and the stack of the first completed trial of a variant."""
    result = next(each for each in results if each.status == "completed")
    where = environment_of(result, report)
    device = where.device
    pairs = (
        ("driver", device.driver if device else None),
        ("clock", f"{device.clock_mhz:g} MHz" if device and device.clock_mhz else None),
        ("threads", None if where.threads is None else str(where.threads)),
        ("processor", where.cpu.model),
        *((package, where.packages.get(package)) for package in _LIBRARIES),
        ("python", where.python),
        ("system", where.system),
    )
    return Column(name, device_name(result), tuple((key, text) for key, text in pairs if text))
