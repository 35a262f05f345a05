"""Noise: how much the times of equal runs differ on a machine, from repeated runs of one variant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Final

from harness.analysis.checks.inputs import mixed_inputs
from harness.analysis.stats.machine_states import (
    add_state,
    between_run_band,
    run_variance,
    states_apart,
)
from harness.analysis.stats.ratios import RunVariance
from harness.analysis.summary import quantile
from harness.errors import InvalidInputError
from harness.model.axis import axes_of, used_axes, value_of
from harness.model.calibration import LEAST_REPEATS, MachineState, Noise, values_by_state
from harness.model.metrics import metrics_of
from harness.model.results import Report, TrialResult
from harness.model.suite import Suite
from harness.model.trial import Trial

# The share of pairs of equal runs whose ratio lies inside the band.
COVERED: Final = 0.95
# Stored bands are computed from the same stored numbers.
_TOLERANCE: Final = 1e-9


def band(values: Sequence[float]) -> float:
    """Return the relative band of values above zero that were measured under the same conditions."""
    ratios = sorted(max(pair) / min(pair) - 1 for pair in combinations(values, 2))
    return quantile(ratios, COVERED)


def suite_of(trial: Trial, suite: Suite) -> Suite:
    """Return the calibration suite: one trial, measured as in `suite`, under another name."""
    axes = used_axes(axes_of(type(trial)), tokenizing=trial.tokenization is not None)
    return Suite(
        name=f"noise-{suite.name}"[:64],
        task=trial.task,
        # The task and the training settings are those of the suite.
        matrix={
            name: (value_of(trial, axis),)
            for name, axis in axes.items()
            if name != "task" and "." not in name
        },
        train=trial.train,
        measure=suite.measure,
    )


def calibrate(suite: Suite, repeats: int, run: Callable[[Suite], Report]) -> Noise:
    """Run a suite of one trial repeatedly and return its bands.

    Args:
        suite: from `suite_of`.
        repeats: how many times.
        run: runs it again and returns its report.

    Raises:
        InvalidInputError: Too few repeats, or a run that did not complete or ran on another machine.
    """
    if repeats < LEAST_REPEATS:
        raise InvalidInputError(
            f"{repeats} runs cannot differ",
            hint=f"Take at least {LEAST_REPEATS}; five or more are informative.",
        )
    return noise_of([run(suite) for _ in range(repeats)])


def noise_of(reports: Sequence[Report]) -> Noise:
    """Return the bands from reports of the same single trial.

    Raises:
        InvalidInputError: A run did not complete, or they ran on different machines.
    """
    results = [_only_result(report) for report in reports]
    places = {result.environment.fingerprint for result in results if result.environment is not None}
    trials = {result.trial.id for result in results}
    if len(places) != 1 or len(trials) != 1:
        raise InvalidInputError(
            f"{len(trials)} different trials on {len(places)} machines: that is no noise",
            hint="Calibrate one variant on one machine: `harness calibrate SUITE`.",
        )
    if mixed := mixed_inputs(zip(results, reports, strict=True)):
        raise InvalidInputError(
            f"the runs had different inputs: {'; '.join(mixed.values())}",
            hint="Calibrate again, and change no file in between.",
        )
    values = _timings(results)
    return Noise(
        fingerprint=places.pop(),
        created=reports[-1].created,
        suite=reports[0].suite.name,
        trial=results[0].trial,
        repeats=len(results),
        bands={metric: band(found) for metric, found in values.items()},
        values=values,
        states=(MachineState(id=reports[-1].run, created=reports[-1].created, values=values),),
    )


def accumulated(kept: Noise | None, new: Noise) -> Noise:
    """Return the calibration of a machine with the states of a new one of the same trial added.

    Bands are those of all runs of all states. The calibration of another trial, or of one without states,
    is replaced.
    """
    if kept is None or not kept.states or kept.trial.id != new.trial.id:
        return new
    states = kept.states
    for state in new.states:
        states = add_state(states, state)
    values = {
        metric: tuple(value for found in values_by_state(states, metric) for value in found)
        for metric in new.values
        if all(metric in state.values for state in states)
    }
    return new.model_copy(
        update={
            "repeats": sum(map(_runs, states)),
            "bands": {metric: band(found) for metric, found in values.items()},
            "values": values,
            "states": states,
        }
    )


def verified(noise: Noise) -> Noise:
    """Return a calibration whose bands follow from its values.

    Raises:
        InvalidInputError: A band does not follow from its values, so the file was edited.
    """
    for metric, stored in noise.bands.items():
        values = noise.values.get(metric, ())
        if len(values) != noise.repeats or min(values) <= 0 or abs(band(values) - stored) > _TOLERANCE:
            raise InvalidInputError(
                f"calibration of machine {noise.fingerprint}: the band of {metric} does not follow from its "
                "values",
                hint="Measure again: `harness calibrate SUITE`, or remove it: `harness calibrate --clear`.",
            )
    return noise


def bands_of(noise: Noise | None) -> Mapping[str, float]:
    """Return the bands of a calibration by metric; empty without one.

    Raises:
        InvalidInputError: A band does not follow from its values.
    """
    return {} if noise is None else verified(noise).bands


def run_variance_of(noise: Noise | None) -> Mapping[str, RunVariance]:
    """Return how much each metric varies between separate runs; empty without two states of the machine.

    Raises:
        InvalidInputError: A band does not follow from its values.
    """
    if noise is None:
        return {}
    states = states_apart(noise.states)
    found = {metric: run_variance(values_by_state(states, metric)) for metric in verified(noise).bands}
    return {metric: each for metric, each in found.items() if each is not None}


def run_bands_of(noise: Noise) -> Mapping[str, float]:
    """Return the band between separate runs by metric; empty without two states of the machine.

    Raises:
        InvalidInputError: A band does not follow from its values.
    """
    states = states_apart(noise.states)
    found = {metric: between_run_band(values_by_state(states, metric)) for metric in verified(noise).bands}
    return {metric: band for metric, band in found.items() if band is not None}


def _runs(state: MachineState) -> int:
    """Return the number of runs of a state: the largest number of values of any metric."""
    return max(map(len, state.values.values()), default=0)


def _only_result(report: Report) -> TrialResult:
    if len(report.results) != 1:
        raise InvalidInputError(
            f"run {report.run} has {len(report.results)} trials, not one",
            hint="Calibrate one variant: `harness calibrate SUITE`.",
        )
    result = report.results[0]
    if result.status != "completed" or result.environment is None:
        raise InvalidInputError(
            f"run {report.run}: its trial ended {result.status} in {result.phase}: {result.reason}",
            hint="Fix that, or choose another variant with --variant.",
        )
    return result


def _timings(results: Sequence[TrialResult]) -> dict[str, tuple[float, ...]]:
    """Return one number per run for each timing metric that every run measured."""
    found = {}
    for metric in metrics_of("time"):
        values = [result.value(metric) for result in results]
        known = tuple(value for value in values if value is not None and value > 0)
        if len(known) == len(results):
            found[metric] = known
    return found
