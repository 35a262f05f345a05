"""What a long run remembers of a result: all that tables show, little else, and little of it twice."""

from __future__ import annotations

import sys
from typing import Any

from harness.model.results import Report, TrialResult
from harness.store.report_file import briefly
from harness.store.writing import to_json
from tests.factories import make_measurements, make_predictions, make_report, make_result, make_trial
from tests.output.written import written


def read(result: TrialResult) -> TrialResult:
    """The result as if read from its file: sharing nothing with any other."""
    return TrialResult.model_validate_json(to_json(result))


def in_brief(report: Report) -> Report:
    shape = briefly(result.trial for result in report.results)
    return report.model_copy(update={"results": tuple(shape(read(result)) for result in report.results)})


def test_a_brief_result_lacks_its_predictions_has_one_value_a_metric_and_all_else() -> None:
    for result in (make_result(), make_result(status="failed"), make_result(degenerate=True)):
        brief = briefly([], whole=-1)(read(result))
        same = {"predictions": None, "measurements": result.measurements}
        assert brief.model_copy(update=same) == result.model_copy(update=same)
        assert brief.predictions is None
        for short, whole in zip(brief.measurements, result.measurements, strict=True):
            assert len(short.values) == min(len(whole.values), 1)
            assert short.model_copy(update={"values": whole.values}) == whole
            assert brief.value(whole.metric) == result.value(whole.metric)


def test_a_plan_of_few_trials_keeps_every_step_and_prediction() -> None:
    result = make_result()
    assert briefly([result.trial])(read(result)) == result


def test_a_brief_report_is_shown_as_the_whole_one() -> None:
    failed = make_result(make_trial("unpadded", 7), status="oom")
    report = make_report([*make_report().results, failed])
    brief = in_brief(report)
    for name in ("table", "markdown", "html"):
        assert written(brief, name) == written(report, name)


def test_equal_parts_are_kept_once() -> None:
    trials = [make_trial(seed=seed) for seed in range(2)]
    shape = briefly(trials)
    one, other = (shape(read(make_result(trial))) for trial in trials)
    assert one.trial is trials[0]
    assert one.environment is other.environment
    assert (one.checkpoint, one.data) == (other.checkpoint, other.data)
    assert one.checkpoint is other.checkpoint
    assert one.data is other.data


def test_a_trial_that_differs_from_the_planned_one_of_its_id_is_kept() -> None:
    trial = make_trial()
    elsewhere = trial.model_copy(update={"task": trial.task.model_copy(update={"data_dir": "/elsewhere"})})
    assert elsewhere.id == trial.id
    assert briefly([trial])(make_result(elsewhere)).trial == elsewhere


def test_a_brief_result_takes_less_than_a_third_of_the_memory() -> None:
    trials = [make_trial(seed=seed) for seed in range(20)]
    predictions = make_predictions(examples=408)
    changes: dict[str, Any] = {
        "predictions": predictions,
        "measurements": make_measurements(predictions, steps=458),
    }
    whole = [read(make_result(trial, **changes)) for trial in trials]
    shape = briefly(trials, whole=0)
    assert 3 * size([shape(result) for result in whole]) < size(whole)


def size(value: Any) -> int:
    """Bytes of everything reachable from the value, each object counted once."""
    seen: set[int] = set()

    def of(one: Any) -> int:
        if id(one) in seen:
            return 0
        seen.add(id(one))
        inner: list[Any] = []
        if isinstance(one, dict):
            inner = [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple, set)):
            inner = list(one)
        elif hasattr(one, "__dict__"):
            inner = [one.__dict__, getattr(one, "__pydantic_fields_set__", None)]
        return sys.getsizeof(one) + sum(map(of, inner))

    return of(value)
