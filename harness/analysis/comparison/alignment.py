"""Alignment: match the variants of a candidate to those of the baseline.

Between reports, variants are matched on all axes except the seed, and except the device if no device of the
same name exists, so that reports of one suite from different GPUs align. A limit of rows that is one for a
whole report is not matched: another one is a mismatch. Inside one report variants are matched on all axes
except the compared one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.analysis.comparison.sessions import axes_of_sides
from harness.analysis.naming import axes, label, shown_axes, telling_axes, varying_axes
from harness.analysis.parity import proofs
from harness.analysis.training_verdicts import training_proofs
from harness.errors import InvalidInputError, NotComparableError
from harness.model.results import Report, TrialResult
from harness.model.seeds import Seed
from harness.model.tasks import Task
from harness.model.trial import Trial
from harness.words import did_you_mean, quoted

Key = tuple[tuple[str, str], ...]

# Axes that change together with an axis.
_WITH: Final[dict[str, tuple[str, ...]]] = {"checkpoint": ("revision",)}


@dataclass(frozen=True, slots=True)
class Variant:
    """The trials of one variant by seed; `axes` contains all its axes as text.

    `proof` is its proof of function and `training` its proof of training; None if the report has none.
    """

    axes: Mapping[str, str]
    results: Mapping[Seed, TrialResult]
    report: Report
    proof: TrialResult | None = None
    training: TrialResult | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A variant of the baseline and its counterpart in the candidate; None for a missing side.

    `candidate` is the name of the candidate's report, or the level of an axis.
    """

    candidate: str
    before: Variant | None
    after: Variant | None

    @property
    def axes(self) -> Mapping[str, str]:
        """The axes of the variant, from the first side that has it."""
        return self._sides[0].axes

    @property
    def task(self) -> Task:
        """The task of both sides: trials of different tasks are never paired."""
        return next(iter(self._sides[0].results.values())).trial.task

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices of both sides, by their names in the suite."""
        return tuple(dict.fromkeys(side.axes["device"] for side in self._sides))

    @property
    def _sides(self) -> list[Variant]:
        return [side for side in (self.before, self.after) if side is not None]


def variants(report: Report) -> list[Variant]:
    """Return the variants of a report in plan order."""
    proved, trained = proofs(report), training_proofs(report)
    return [
        Variant(
            axes(results[0].trial),
            {result.trial.seed: result for result in results},
            report,
            proved.get(variant),
            trained.get(variant),
        )
        for variant, results in report.variants().items()
    ]


def align_reports(baseline: Report, candidate: Report, name: str) -> list[Pair]:
    """Return each variant of the baseline with its counterpart or None, then those of the candidate only.

    The sides of one A/B session are matched without the axes in which their suites differ.
    """
    apart = axes_of_sides([baseline, candidate])
    if all(len({result.trial.task.limit for result in side.results}) == 1 for side in (baseline, candidate)):
        apart |= {"task.limit"}
    before = variants(baseline)
    left = {_key(variant, apart): variant for variant in variants(candidate)}
    partners = [[left.pop(key)] if (key := _key(variant, apart)) in left else [] for variant in before]
    alone = _across_devices(before, partners, list(left.values()))
    pairs = [
        Pair(name, variant, each)
        for variant, found in zip(before, partners, strict=True)
        for each in (found or (None,))
    ]
    return [*pairs, *(Pair(name, None, variant) for variant in alone)]


def align_levels(report: Report, axis: str, baseline: str | int = 0) -> tuple[str, list[Pair]]:
    """Return the baseline level of an axis in one report, and the variants of other levels paired with it.

    Args:
        report: the report of a run.
        axis: a name as in a suite's matrix: `padding`, `train.learning_rate`.
        baseline: the level to compare with, by its text or its place in the report.

    Raises:
        InvalidInputError: There is no such axis or level.
        NotComparableError: The report has only one level of the axis.
    """
    found = variants(report)
    refuse_tasks([axis])
    levels = _levels(found, axis)
    refuse_several(axis, (variant.axes for variant in found))
    reference = _chosen_level(levels, axis, baseline)
    apart = axes_apart(axis, [result.trial for result in report.results])
    by_level: dict[str, dict[Key, Variant]] = {}
    for each in found:
        by_level.setdefault(each.axes[axis], {})[_key(each, apart)] = each
    before = by_level.pop(reference)
    return reference, [
        Pair(level, before.get(key), after.get(key))
        for level, after in by_level.items()
        for key in before | after
    ]


def axes_apart(axis: str, trials: Sequence[Trial]) -> frozenset[str]:
    """Return the axes that may differ when variants are compared along one.

    Numbers of devices are compared at one global batch, if all trials have the same one: then the batch of a
    single device differs with them.
    """
    parts = {name for name in axes(trials[0]) if name.startswith(f"{axis}.")}
    if axis == "world_size" and len({trial.global_batch_size for trial in trials}) == 1:
        parts.add("train.per_device_train_batch_size")
    return frozenset({axis, *_WITH.get(axis, ()), *parts})


def refuse_tasks(apart: Collection[str]) -> None:
    """Refuse to pair trials of different tasks.

    Raises:
        InvalidInputError: The task is among the axes in which both sides differ.
    """
    if "task" in apart:
        raise InvalidInputError(
            "trials of different tasks are not compared: they have no examples in common",
            hint="Compare the variants of each task along another axis, such as padding.",
        )


def refuse_several(axis: str, variants: Iterable[Mapping[str, str]]) -> None:
    """Refuse to compare values of an axis if one of them has several values of an axis that changes with it.

    Args:
        axis: the compared axis.
        variants: the axes of each variant, as text.

    Raises:
        InvalidInputError: A checkpoint has several revisions.
    """
    found = list(variants)
    for other in _WITH.get(axis, ()):
        values: dict[str, dict[str, None]] = {}
        for each in found:
            values.setdefault(each[axis], {})[each[other]] = None
        for level, several in values.items():
            if len(several) > 1:
                raise InvalidInputError(
                    f"{axis} {level} has several values of {other}, so it is not one side of a comparison: "
                    f"{', '.join(several)}",
                    hint=f"Compare these with --by {other}, or run one of them alone.",
                )


def pair_labels(pairs: Sequence[Pair], apart: Collection[str]) -> list[str]:
    """Return a label for each pair: the varying axes, and the devices if two labels are otherwise equal."""
    left = ({name: value for name, value in pair.axes.items() if name not in apart} for pair in pairs)
    shown = shown_axes(left)
    varying = telling_axes(shown) or [name for name in ("checkpoint", "padding") if name not in apart]
    texts = [label(values, varying) for values in shown]
    counts = Counter((pair.candidate, text) for pair, text in zip(pairs, texts, strict=True))
    return [
        f"{text} {' to '.join(pair.devices)}" if counts[pair.candidate, text] > 1 else text
        for pair, text in zip(pairs, texts, strict=True)
    ]


def _across_devices(
    before: Sequence[Variant], partners: Sequence[list[Variant]], left: Sequence[Variant]
) -> list[Variant]:
    """Match remaining variants across devices if the match is unique; return the unmatched ones."""
    groups: dict[Key, list[Variant]] = {}
    for variant in left:
        groups.setdefault(_key(variant, {"device"}), []).append(variant)
    existing: dict[Key, list[int]] = {}
    for place, variant in enumerate(before):
        existing.setdefault(_key(variant, {"device"}), []).append(place)
    alone: list[Variant] = []
    for key, group in groups.items():
        places = existing.get(key, [])
        free = [place for place in places if not partners[place]]
        if len(places) == 1:
            partners[places[0]].extend(group)
        elif len(free) == len(group) == 1:
            partners[free[0]].extend(group)
        else:
            alone += group
    return alone


def _levels(found: Sequence[Variant], axis: str) -> tuple[str, ...]:
    if not found:
        raise NotComparableError(
            "the report contains no trial", hint="Run the suite first: `harness run SUITE`."
        )
    if axis not in found[0].axes:
        known = list(found[0].axes)
        raise InvalidInputError(f"there is no axis {quoted(axis)}{did_you_mean(axis, known)}")
    levels = tuple(dict.fromkeys(variant.axes[axis] for variant in found))
    if len(levels) == 1:
        varying = ", ".join(varying_axes(variant.axes for variant in found)) or "none"
        raise NotComparableError(
            f"every trial of the report has {axis} {levels[0]}: there is nothing to compare it with",
            hint=f"Axes that vary in it: {varying}.",
        )
    return levels


def _chosen_level(levels: Sequence[str], axis: str, baseline: str | int) -> str:
    if isinstance(baseline, int) and 0 <= baseline < len(levels):
        return levels[baseline]
    if baseline in levels:
        return str(baseline)
    raise InvalidInputError(
        f"no trial of the report has {axis} {quoted(str(baseline))}{did_you_mean(str(baseline), levels)}",
        hint="With --by, --baseline names a value of the axis.",
    )


def _key(variant: Variant, apart: Collection[str] = ()) -> Key:
    return tuple((name, value) for name, value in variant.axes.items() if name not in apart)
