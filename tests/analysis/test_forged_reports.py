"""A forger edits one stored number after another and seals the file again: which edits pass unnoticed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import pytest

from harness.analysis.checks.verification import beyond_scores
from harness.analysis.comparison.comparing import compare
from harness.analysis.gates.applying import check
from harness.analysis.training_verdicts import training_of
from harness.errors import InvalidInputError, NotComparableError
from harness.model.assets import Duplicates
from harness.model.measurements import measured
from harness.model.observations import Observed
from harness.model.proof import Parity, TrainingCheck, TrainingProof
from harness.model.results import Report, TrialResult
from harness.store.reading import load_report
from harness.store.writing import to_json
from harness.suite.gate_files import parse_gate
from tests.factories import make_data, make_probe, make_report, make_result, make_trial
from tests.output.test_tokenizing import WHOLE, tokenized
from tests.store.forging import get, put, sealed

DATA: Final = Path(__file__).parents[1] / "store" / "data"
STORED: Final = {
    "minilm": DATA / "minilm-1.json",
    "speed": DATA / "speed-1.json",
    "kept": DATA / "report-1.json",
}

# A number of a report (`*` is any part of a path) whose change nothing in the file contradicts, and why.
UNNOTICED: Final[dict[str, str]] = {
    "results/*/epochs/*/train_loss": "older reports keep no losses of steps; the last epoch is verified",
    "results/*/epochs/*/scores/*": "earlier epochs keep no predictions; the last one is verified",
    "results/*/measurements/*_seconds/values/0": "one reading of a clock; all must fit into the trial's time",
    "results/*/measurements/peak_memory_*/values/0": "one reading of a counter",
    "results/*/measurements/model_flops/values/0": "older reports store neither its rate nor a peak",
    "results/*/measurements/train_real_tokens_per_second/values/0": (
        "older reports store no count of tokens: known up to those of the warm-up examples"
    ),
    "results/*/measurements/padding_efficiency/values/0": "older reports store no count of computed tokens",
    "results/*/measurements/copy_peak_*/values/0": "one measurement of the machine",
    "results/*/measurements/square_matmul_peak_*/values/0": "one measurement of the machine",
    "results/*/predictions/lengths/*": "known up to the longest row",
    "results/*/observed/parameter_change": "the weights are not stored; it may not be 0",
    "results/*/observed/drop*": "the masks are not stored; the share is known up to its chance",
    "results/*/probe/**": "one reading of the machine",
    "results/*/data/longest": "one longer row changes nothing that is stored",
    "results/*/data/duplicates/*": "the texts are not stored",
    "results/*/data/mean_length": "known up to the tokens of the warm-up examples",
    "results/*/data/truncated": "the texts are not stored",
    "results/*/duration_s": "one reading of a clock; it must cover the phases",
    "results/*/attempts": "nothing depends on it",
    "results/*/checkpoint/parameters": "the weights are not stored, their digest is compared",
    "results/*/environment/memory_bytes": "describes the machine",
    "results/*/environment/load_average": "describes the machine",
    "proofs/*/predictions/**": "the plain model's logits, which they are compared with, are not stored",
    "proofs/*/parity/*": "the plain model's logits and gradients are not stored",
    "proofs/*/trial/**": "a proof covers every seed and training of its function",
    "proofs/*/degenerate": "a proof is not trained, and nothing depends on it",
    "training_proofs/*/training/checks/**": "another number on the same side of its limit, or a higher limit",
    "training_proofs/*/trial/**": "another proof covers no variant: `training was not proven`",
    "training_proofs/*/degenerate": "a proof is not trained, and nothing depends on it",
    "training_proofs/*/attempts": "nothing depends on it",
    "training_proofs/*/duration_s": "one reading of a clock",
    "training_proofs/*/checkpoint/**": "no weights are loaded",
    "proofs/*/attempts": "nothing depends on it",
    "proofs/*/duration_s": "one reading of a clock",
    "proofs/*/checkpoint/parameters": "the weights are not stored, their digest is compared",
    "proofs/*/environment/**": "describes the machine; a proof is not timed",
    "environment/**": "describes the machine that started the run, not the trials'",
    "suite/**": "what was asked for, and no result; `--explain` shows a change",
}


def numbers(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all numbers and flags; of a long list of numbers its first, middle and last."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, (*at, key))
    elif isinstance(value, list):
        plain = not any(isinstance(each, dict) for each in value)
        places = (0, len(value) // 2, len(value) - 1) if plain and len(value) > 12 else range(len(value))
        for place in places:
            yield from numbers(value[place], (*at, place))
    elif isinstance(value, bool | int | float):
        yield at


def edited(value: bool | float) -> list[Any]:
    """What a forger would write instead: better, worse, and much larger."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 3 + 7]
    return [each for each in (value * 1.05 + 0.001, value * 0.9, value * 4 + 1) if each != value]


def place(document: dict[str, Any], path: tuple[str | int, ...]) -> str:
    """The path with the metric's name in place of its number: `results/0/measurements/eval_f1/values/0`."""
    names = [str(key) for key in path]
    if "measurements" in path:
        at = path.index("measurements") + 1
        names[at] = get(document, path[: at + 1])["metric"]
    return "/".join(names)


def matches(name: str, pattern: str) -> bool:
    """`*` is one part of a path or a part of its name, `**` is any number of parts."""
    parts = (re.escape(pattern).replace(r"\*\*", ".+")).replace(r"\*", "[^/]*")
    return re.fullmatch(parts, name) is not None


def noticed(document: dict[str, Any], genuine: Report, folder: Path) -> bool:
    """Whether reading, `check` (which recomputes what `rescore` does) or `compare` with the original does."""
    file = folder / "forged.json"
    file.write_bytes(sealed(document))
    try:
        forged = load_report(file)
        if check(forged, gates=[]).outcome == "fail":
            return True
        compared = compare([genuine, forged], metrics=["eval_accuracy", "train_real_tokens_per_second"])
    except (InvalidInputError, NotComparableError):
        return True
    return bool(compared.mismatches) or any(
        row.verdict in ("missing", "not comparable") for row in compared.rows
    )


def complete() -> Report:
    """One trial with all that this version stores of a training, and the proof of its training."""
    plain = make_result(make_trial())
    losses = [0.9 - 0.02 * step for step in range(24)]
    means = [fmean(losses[start : start + 8]) for start in (0, 8, 16)]
    (last,) = plain.epochs
    epochs = tuple(
        last.model_copy(update={"epoch": epoch, "train_loss": mean}) for epoch, mean in enumerate(means, 1)
    )
    seconds = sum(plain.measurement("train_step_seconds").values)  # type: ignore[union-attr]
    rate, flops, peak, published = plain.value("train_real_tokens_per_second"), 1e12, 2e11, 3e11
    assert rate is not None
    more = (
        measured("train_real_tokens", 112 * 53.0),
        measured("train_computed_tokens", 112 * 53.0 / 0.74),
        measured("model_flops", flops),
        measured("model_flops_per_second", flops / seconds),
        measured("matmul_peak_flops_per_second", peak),
        measured("matmul_peak_share", flops / seconds / peak),
        measured("published_peak_flops_per_second", published),
        measured("model_flops_utilization", flops / seconds / published),
        measured("train_loss", means[-1]),
        measured("train_step_loss", *losses),
        measured("train_real_tokens_per_second_per_device", rate),
        measured("copy_peak_bytes_per_second", 1e10),
        measured("square_matmul_peak_flops_per_second", 3e11),
        measured("trainable_parameters", 123_456.0),
        measured("total_parameters", 123_456.0),
    )
    names = {one.metric for one in more}
    kept = tuple(one for one in plain.measurements if one.metric not in names)
    whole = plain.model_copy(
        update={
            "measurements": (*kept, *more),
            "epochs": epochs,
            "predictions": plain.predictions.model_copy(update={"lengths": tuple(range(20, 60))}),  # type: ignore[union-attr]
            "data": make_data(duplicates=Duplicates(train=1, evaluation=0, leaked=2)),
            "probe": make_probe(),
            "observed": Observed(
                optimizer_steps=24,
                first_learning_rate=5e-5,
                last_learning_rate=5e-5 / 24,
                learning_rate_sum=5e-5 * 12.5,
                dropped_share=0.1003,
                dropout_rate=0.1,
                dropout_elements=100_000,
                parameter_change=0.01,
                unmoved=(),
                training_mode=(True, True, True),
            ),
        }
    )
    checks = (
        TrainingCheck(name="losses", passed=True, found="largest 1e-7", measured=1e-7, limit=1e-5),
        TrainingCheck(name="order", passed=True, found="as planned"),
    )
    proof = TrialResult(
        trial=training_of(whole.trial, "bert"),
        status="completed",
        phase="write",
        started=whole.started,
        duration_s=2.0,
        checkpoint=whole.checkpoint,
        training=TrainingProof(checks=checks),
    )
    return make_report([whole], training_proofs=(proof,))


def one_trial(name: str) -> Report:
    """A stored report with its first trial and proof alone."""
    if name == "complete":
        return complete()
    report = load_report(STORED[name])
    return report.model_copy(
        update={
            "results": report.results[:1],
            "proofs": report.proofs[:1],
            "training_proofs": report.training_proofs[:1],
        }
    )


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The edits that pass in any of the reports, by place."""
    folder = tmp_path_factory.mktemp("forged")
    found: dict[str, list[Any]] = {}
    for name in (*STORED, "complete"):
        genuine = one_trial(name)
        text = to_json(genuine)
        assert not noticed(json.loads(text), genuine, folder)
        for path in numbers(json.loads(text)):
            original = get(json.loads(text), path)
            for value in edited(original):
                document = json.loads(text)
                put(document, path, value)
                if not noticed(document, genuine, folder):
                    found.setdefault(place(document, path), []).append((name, original, value))
    return found


def test_an_edited_number_is_noticed_unless_nothing_depends_on_it(passed: dict[str, list[Any]]) -> None:
    unexplained = {
        where: edits for where, edits in passed.items() if not any(matches(where, each) for each in UNNOTICED)
    }
    assert unexplained == {}


def test_the_list_of_what_passes_has_no_entry_too_many(passed: dict[str, list[Any]]) -> None:
    assert [each for each in UNNOTICED if not any(matches(where, each) for where in passed)] == []


def forged(change: dict[str, Any]) -> Report:
    """A trial of which the forger changed these fields, with its digest computed again."""
    document = json.loads(to_json(make_report([make_result(make_trial())])))
    document["results"][0] |= change
    return Report.model_validate_json(json.dumps(document))


def measurements(**values: float | None) -> list[dict[str, Any]]:
    """The measurements of an honest trial, some with another value; None removes one."""
    document = json.loads(to_json(make_result(make_trial())))
    kept = [each for each in document["measurements"] if values.get(each["metric"], 0.0) is not None]
    for each in kept:
        if each["metric"] in values:
            each["values"] = [values[each["metric"]]]
    return kept


def cases(report: Report, *gates: str) -> dict[str, str]:
    """Kind and reason of every case that failed."""
    found = check(report, gates=[parse_gate(gate) for gate in gates])
    assert found.outcome == "fail"
    return {case.kind: case.reason for case in found.cases if case.verdict == "failed"}


def test_scores_without_their_predictions_fail_and_so_does_a_gate_on_them() -> None:
    ninety_seven = measurements(eval_accuracy=0.97, eval_f1=0.97)
    failed = cases(forged({"predictions": None, "epochs": [], "measurements": ninety_seven}), "eval_f1>=0.9")
    assert "the predictions behind them are missing" in failed["stored"]
    report = forged({"predictions": None, "measurements": measurements()})
    found = check(report, gates=[parse_gate("eval_f1>=0.1")], allow_mismatch=["stored_value"])
    (bound,) = [case for case in found.cases if case.kind == "bound"]
    assert bound.verdict == "failed"
    assert "stores no predictions; run the suite again" in bound.reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eval_loss": 0.01}, "eval_loss 0.01 is stored"),
        ({"train_samples_per_second": 99.0}, "the plan has 112"),
        ({"train_real_tokens_per_second": 9999.0}, "real tokens, the plan has"),
        ({"padding_efficiency": 0.1}, "computed tokens, the plan has"),
        ({"train_seconds": 0.5}, "the steps took"),
        ({"train_loss": 0.1}, "train_loss 0.1 is stored, 0.5 in the last epoch"),
        ({"evaluate_seconds": 5000.0}, "the trial took 12.5 s"),
    ],
)
def test_an_edited_value_contradicts_what_it_follows_from(change: dict[str, float], message: str) -> None:
    assert message in cases(forged({"measurements": measurements(**change)}))["stored"]


def test_one_class_cannot_be_passed_off_as_sound() -> None:
    logits = [[-0.5, 0.5]] * 40
    honest = json.loads(to_json(make_result(make_trial(), degenerate=True)))
    document = json.loads(to_json(make_report([make_result(make_trial())])))
    document["results"][0] = honest | {"degenerate": False}
    assert honest["predictions"]["logits"] == logits
    failed = cases(Report.model_validate_json(json.dumps(document)))
    assert "degenerate is false, predictions or labels are of one class" in failed["stored"]


def test_a_trial_cannot_be_passed_off_as_a_proof() -> None:
    parity = Parity(
        examples=40, largest_logit_difference=0.0, relative_gradient_error=0.0, flipped_predictions=0
    )
    changes = {"parity": parity.model_dump(), "measurements": measurements(eval_accuracy=0.97)}
    assert "eval_accuracy 0.97 is stored" in cases(forged(changes))["stored"]


def test_a_proof_has_as_many_logits_as_examples() -> None:
    parity = Parity(
        examples=64, largest_logit_difference=0.0, relative_gradient_error=0.0, flipped_predictions=0
    )
    proof = make_result(make_trial()).model_copy(update={"parity": parity})
    failed = cases(make_report([make_result(make_trial())], proofs=(proof,)))
    assert "a proof of 64 examples, logits of 40 are stored" in failed["stored"]


def test_a_rate_without_its_step_times_cannot_be_gated() -> None:
    report = forged({"measurements": measurements(train_step_seconds=None)})
    found = check(report, gates=[parse_gate("train_samples_per_second>=1")])
    (bound,) = [case for case in found.cases if case.kind == "bound"]
    assert (bound.verdict, "stores no train_step_seconds" in bound.reason) == ("failed", True)
    drop = check(report, baseline=report, gates=[parse_gate("train_samples_per_second drop<=10%")])
    assert [case.verdict for case in drop.cases if case.kind == "drop"] == ["failed"]


def test_compare_and_rescore_use_the_same_verification() -> None:
    honest = make_report([make_result(make_trial())])
    report = forged({"measurements": measurements(train_samples_per_second=99.0)})
    with pytest.raises(NotComparableError, match="stored values that contradict each other"):
        compare([honest, report], metrics=["train_samples_per_second"])
    allowed = compare([honest, report], metrics=["train_samples_per_second"], allow_mismatch=["stored_value"])
    assert allowed.rows[0].effect is not None
    assert [str(each) for each in beyond_scores(report.results[0], 10)] != []
    assert beyond_scores(honest.results[0], 10) == ()


def test_a_wrong_value_can_be_allowed_by_name() -> None:
    report = forged({"measurements": measurements(eval_loss=0.01)})
    found = check(report, gates=[], allow_mismatch=["stored_value"])
    assert (found.outcome, found.allowed_mismatches) == ("pass", ("stored_value",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenize_seconds": (5.0, 4.0)}, "rates and times give 40760 examples, the plan has 4076"),
        ({"tokenize_tokens_per_second": (1e6, 1e6)}, "tokens, the plan has"),
        (
            {"tokenize_tokens_per_second": (434_000.0, 440_000.0)},
            "217000 tokens in a pass, 220000 in another",
        ),
        ({"tokenize_examples_per_second": (8152.0,)}, "1 values of tokenize_examples_per_second"),
    ],
)
def test_the_numbers_of_a_tokenizing_trial_contradict_each_other(
    change: dict[str, tuple[float, ...]], message: str
) -> None:
    honest = tokenized(WHOLE, "fast", 0, 0.5, 0.5)
    assert check(make_report([honest]), gates=[]).outcome == "pass"
    edited = tuple(
        measured(each.metric, *change[each.metric]) if each.metric in change else each
        for each in honest.measurements
    )
    assert message in cases(make_report([honest.model_copy(update={"measurements": edited})]))["stored"]


def test_a_gate_on_a_loss_or_a_rate_needs_what_it_follows_from() -> None:
    found = forged({"epochs": []})
    assert "stores no epochs; run the suite again" in cases(found, "train_loss<=0.9")["bound"]


def test_a_check_of_training_that_failed_cannot_be_passed_off_as_passed() -> None:
    honest = complete()
    (proof,) = honest.training_proofs
    far = TrainingCheck(name="losses", passed=True, found="largest 1e-7", measured=0.2, limit=1e-5)
    no_number = far.model_copy(update={"measured": None})
    for check_, told in (
        (far, "stored as passed, it measured 0.2, at most 1e-05 passes"),
        (no_number, "it measured not a number, at most 1e-05 passes"),
    ):
        edited = proof.model_copy(update={"training": TrainingProof(checks=(check_,))})
        assert told in cases(honest.model_copy(update={"training_proofs": (edited,)}))["stored"]


def test_the_loss_of_the_last_epoch_edited_twice_contradicts_the_losses_of_its_steps() -> None:
    document = json.loads(to_json(complete()))
    (result,) = document["results"]
    result["epochs"][-1]["train_loss"] = 0.1
    (loss,) = (each for each in result["measurements"] if each["metric"] == "train_loss")
    loss["values"] = [0.1]
    found = check(Report.model_validate_json(json.dumps(document)), gates=[parse_gate("train_loss<=0.2")])
    assert [case.verdict for case in found.cases if case.kind in ("stored", "bound")] == [
        "failed",
        "not comparable",
    ]


def test_an_epoch_left_out_contradicts_the_losses_of_the_steps() -> None:
    honest = complete()
    (result,) = honest.results
    (_, second, third) = result.epochs
    fewer = tuple(each.model_copy(update={"epoch": at}) for at, each in enumerate((second, third), 1))
    edited = honest.model_copy(update={"results": (result.model_copy(update={"epochs": fewer}),)})
    assert "2 epochs are stored, the plan has 3" in cases(edited)["stored"]


def at_once(number: int, seconds: int, **changes: Any) -> TrialResult:
    (plain,) = complete().results
    started = plain.started + timedelta(seconds=seconds)
    fields: dict[str, Any] = {"trial": make_trial(seed=number), "started": started, "duration_s": 20.0}
    return plain.model_copy(update=fields | {"probe": None} | changes)


def test_trials_that_ran_at_once_cannot_be_passed_off_as_alone() -> None:
    gate = "train_real_tokens_per_second>=1"
    honest = [at_once(0, 0, concurrent=2), at_once(1, 5, concurrent=2)]
    assert check(make_report(honest), gates=[parse_gate(gate)]).outcome == "not comparable"
    edited = make_report([at_once(0, 0), at_once(1, 5)])
    assert "another trial ran there at the same time" in cases(edited, gate)["stored"]
    (bound,) = (case for case in check(edited, gates=[parse_gate(gate)]).cases if case.kind == "bound")
    assert bound.verdict == "not comparable"
    for others in (
        # One after the other.
        [at_once(0, 0), at_once(1, 20)],
        # On two machines of one kind.
        [at_once(0, 0, probe=make_probe()), at_once(1, 5, probe=make_probe())],
    ):
        assert check(make_report(others), gates=[parse_gate(gate)]).outcome == "pass"


@pytest.mark.parametrize(
    ("asset", "changes", "told"),
    [
        (
            "checkpoint",
            {"requested": "bert-base-uncased", "name": "embedded/bert-uncased", "stand_in": True},
            "stand_in is false, embedded/bert-uncased was used in place of bert-base-uncased",
        ),
        (
            "data",
            {"source": "embedded", "name": "embedded/pairs", "synthetic": True},
            "synthetic is false, embedded/pairs is generated",
        ),
    ],
)
def test_a_stand_in_cannot_be_passed_off_as_the_real_asset(
    asset: str, changes: dict[str, Any], told: str
) -> None:
    document = json.loads(to_json(complete()))
    (result,) = document["results"]
    result[asset] |= changes
    honest = check(Report.model_validate_json(json.dumps(document)), gates=[parse_gate("eval_f1>=0.1")])
    assert [case.verdict for case in honest.cases if case.kind == "bound"] == ["not comparable"]
    assert all(case.kind != "stored" for case in honest.cases)
    result[asset] |= dict.fromkeys(changes.keys() & {"stand_in", "synthetic"}, False)
    edited = Report.model_validate_json(json.dumps(document))
    assert told in cases(edited)["stored"]
    found = check(edited, gates=[parse_gate("eval_f1>=0.1")])
    assert [case.verdict for case in found.cases if case.kind == "bound"] == ["not comparable"]
