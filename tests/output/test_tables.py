# ruff: noqa: E501, RUF001 - tables are literal text, as wide and with the signs that people see
from __future__ import annotations

import html
import io
from dataclasses import replace
from typing import Any, Final

import pytest
from rich.cells import cell_len
from rich.console import Console

from harness.model.arguments import Train
from harness.model.assets import Duplicates
from harness.model.environment import Device
from harness.model.measurements import measured, unmeasured
from harness.model.observations import DeviceState, Probe
from harness.model.results import Report, Session, TrialResult
from harness.model.seeds import SeedRoles
from harness.model.tasks import Limit, Task
from harness.model.values import Adapter, PaddingStrategy
from harness.output.builders.report import report_document
from harness.output.builders.report_parts.remarks import constants
from harness.output.document import Later
from harness.output.formats.known_formats import render
from harness.output.formats.terminal import drawn
from harness.store.writing import to_json
from tests.factories import (
    make_checkpoint,
    make_data,
    make_environment,
    make_probe,
    make_report,
    make_result,
    make_suite,
    make_trial,
)
from tests.output.written import to_table, written

PADDINGS: Final[tuple[PaddingStrategy, ...]] = ("static", "dynamic")


def _report(**changes: Any) -> Report:
    """Two paddings, two seeds; one trial out of memory, one that predicts one class; stand-ins."""
    stand_in = make_checkpoint(requested="bert-base-uncased", name="embedded/bert-uncased", stand_in=True)
    data = make_data(requested="glue/mrpc", name="embedded/mrpc", synthetic=True)

    def done(padding: Any, seed: int, accuracy: float, f1: float, rate: float, **fields: Any) -> Any:
        numbers = (
            measured("eval_accuracy", accuracy),
            measured("eval_f1", f1),
            measured("train_real_tokens_per_second", rate),
            measured("padding_efficiency", 0.416 if padding == "static" else 0.743),
            measured("train_seconds", 185.0 if padding == "static" else 71.3),
            measured("peak_memory_host_bytes", 1.3e9),
        )
        trial = make_trial(padding, seed, checkpoint="bert-base-uncased")
        return make_result(trial, measurements=numbers, checkpoint=stand_in, data=data, **fields)

    results = [
        done("static", 0, 0.8501, 0.893, 6_210.0),
        done("dynamic", 0, 0.8578, 0.8997, 12_345.0),
        done("bucketed", 0, 0.6838, 0.8122, 20_000.0, degenerate=True),
        done("static", 1, 0.8601, 0.901, 6_190.0),
        done("dynamic", 1, 0.8456, 0.8899, 12_400.0),
        make_result(
            make_trial("bucketed", 1, checkpoint="bert-base-uncased"),
            status="oom",
            reason="out of memory at batch 8, peak 15.9 GiB",
        ),
    ]
    return make_report(results, **changes)


WIDE = """\
padding: 3 variants, 6 trials of glue/mrpc
common settings: bert-base-uncased, cpu, fp32, trainer, sdpa, 3 epochs, batch 8, learning rate 5e-05
Test CPU, 2 cores; torch 2.13.0; transformers 5.23.0
parity: every variant: not proved to compute the plain model's function

                                                            padding                 host
variant      accuracy           F1        real tokens/s  efficiency  train time   memory  status              remarks
───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
static    85.5 ±0.7 %  89.7 ±0.6 %  6.20k (6.19k-6.21k)      41.6 %  3 min 05 s  1.2 GiB  2 completed         stand-in, synthetic
dynamic   85.2 ±0.9 %  89.5 ±0.7 %  12.4k (12.3k-12.4k)      74.3 %  1 min 11 s  1.2 GiB  2 completed         fastest, stand-in, synthetic
bucketed            –            –                20.0k      74.3 %  1 min 11 s  1.2 GiB  1 completed, 1 oom  1 degenerate, stand-in, synthetic

- seeds were interleaved
- stand-in: embedded/bert-uncased was used in place of bert-base-uncased; its numbers are not those of bert-base-uncased
- synthetic data: embedded/mrpc, a generated corpus, was used in place of glue/mrpc
- degenerate: bucketed: 1 of 1 completed trial predicted a single class and was left out of accuracy and F1
- bucketed batches rows of similar length: another order of training than the other strategies'
- bucketed, seed 1: oom in train: out of memory at batch 8, peak 15.9 GiB
- ± is the sample standard deviation over seeds; rates and times are medians over them, with the range of rates in brackets
"""

NARROW = """\
padding: 3 variants, 6 trials of glue/mrpc
common settings: bert-base-uncased, cpu, fp32, trainer, sdpa, 3 epochs, batch 8,
learning rate 5e-05
Test CPU, 2 cores; torch 2.13.0; transformers 5.23.0
parity: every variant: not proved to compute the plain model's function

variant       accuracy           F1        real tokens/s  status        remarks
────────────────────────────────────────────────────────────────────────────────────
static     85.5 ±0.7 %  89.7 ±0.6 %  6.20k (6.19k-6.21k)  2 completed   stand-in,
                                                                        synthetic
dynamic    85.2 ±0.9 %  89.5 ±0.7 %  12.4k (12.3k-12.4k)  2 completed   fastest,
                                                                        stand-in,
                                                                        synthetic
bucketed             –            –                20.0k  1 completed,  1
                                                          1 oom         degenerate,
                                                                        stand-in,
                                                                        synthetic
reference       85.8 %            –                       published

- stand-in: embedded/bert-uncased was used in place of bert-base-uncased; its
  numbers are not those of bert-base-uncased
- synthetic data: embedded/mrpc, a generated corpus, was used in place of glue/mrpc
- reference: no row is compared with it: only real data and checkpoints are
- degenerate: bucketed: 1 of 1 completed trial predicted a single class and was left
  out of accuracy and F1
- bucketed batches rows of similar length: another order of training than the other
  strategies'
- bucketed, seed 1: oom in train: out of memory at batch 8, peak 15.9 GiB
- ± is the sample standard deviation over seeds; rates and times are medians over
  them, with the range of rates in brackets
- left out at this width: padding efficiency, train time, host memory; `--format
  csv` has everything
"""

BLOCKS = """\
padding: 3 variants, 6 trials of glue/mrpc
common settings: bert-base-uncased, cpu, fp32, trainer,
sdpa, 3 epochs, batch 8, learning rate 5e-05
Test CPU, 2 cores; torch 2.13.0; transformers 5.23.0
parity: every variant: not proved to compute the plain
model's function

static
  accuracy 85.5 ±0.7 %, F1 89.7 ±0.6 %, real tokens/s 6.20k
  (6.19k-6.21k), padding efficiency 41.6 %, train time 3 min
  05 s, host memory 1.2 GiB, status 2 completed, remarks
  stand-in, synthetic
dynamic
  accuracy 85.2 ±0.9 %, F1 89.5 ±0.7 %, real tokens/s 12.4k
  (12.3k-12.4k), padding efficiency 74.3 %, train time 1 min
  11 s, host memory 1.2 GiB, status 2 completed, remarks
  fastest, stand-in, synthetic
bucketed
  accuracy –, F1 –, real tokens/s 20.0k, padding efficiency
  74.3 %, train time 1 min 11 s, host memory 1.2 GiB, status
  1 completed, 1 oom, remarks 1 degenerate, stand-in,
  synthetic

- stand-in: embedded/bert-uncased was used in place of
  bert-base-uncased; its numbers are not those of
  bert-base-uncased
- synthetic data: embedded/mrpc, a generated corpus, was
  used in place of glue/mrpc
- degenerate: bucketed: 1 of 1 completed trial predicted a
  single class and was left out of accuracy and F1
- bucketed batches rows of similar length: another order of
  training than the other strategies'
- bucketed, seed 1: oom in train: out of memory at batch 8,
  peak 15.9 GiB
- ± is the sample standard deviation over seeds; rates and
  times are medians over them, with the range of rates in
  brackets
"""

REAL = """\
padding: 2 variants, 2 trials of glue/mrpc
common settings: tiny-uncased, cpu, fp32, trainer, sdpa, 3 epochs, batch 8, learning rate 5e-05
Test CPU, 2 cores; torch 2.13.0; transformers 5.23.0
parity: every variant: not proved to compute the plain model's function

                                 real     padding  train       host
variant    accuracy      F1  tokens/s  efficiency   time     memory  status     remarks
───────────────────────────────────────────────────────────────────────────────────────
static       75.0 %  81.5 %     1.33k      51.5 %  4.5 s  488.3 MiB  completed
dynamic      75.0 %  81.5 %     1.65k      74.0 %  3.6 s  488.3 MiB  completed
reference    85.8 %  90.0 %                                          published

- against the reference, every variant: accuracy -10.8 points, F1 -8.5 points
- one trial a variant: none is shown to be the fastest; add seeds to rank them: -s 'matrix.seed=[0, 1, 2]'
- MFU not measured: no peak is known for Test CPU
"""


def test_data_that_is_not_published_or_repeats_rows_is_remarked_once() -> None:
    data = make_data(
        name="glue/mrpc",
        eval_examples=408,
        published=False,
        duplicates=Duplicates(train=0, evaluation=1, leaked=2),
    )
    shown = to_table(make_report([make_result(make_trial(seed=seed), data=data) for seed in range(2)]))
    for remark in (
        "data glue/mrpc: these are not the published rows: do not compare their scores with published ones",
        "data glue/mrpc: 2 of 408 evaluation examples have the same texts as a training example: scores may "
        "be too high",
        "data glue/mrpc: 1 of 408 evaluation examples repeats the texts of an earlier one",
    ):
        assert shown.count(remark) == 1


def test_published_data_without_repeated_rows_is_not_remarked() -> None:
    data = make_data(published=True, duplicates=Duplicates(train=0, evaluation=0, leaked=0))
    assert "data glue/mrpc" not in to_table(make_report([make_result(make_trial(), data=data)]))


def test_the_table_off_a_terminal_tells_everything() -> None:
    assert to_table(_report(notes=("seeds were interleaved",))) == WIDE


@pytest.mark.parametrize("form", ["table", "markdown", "html"])
def test_weights_that_only_the_suite_accepts_are_named_below_every_table(form: str) -> None:
    names = tuple(f"bert.encoder.layer.1.output.{name}" for name in ("a", "b", "c", "d", "e"))
    results = [
        make_result(make_trial(padding), checkpoint=make_checkpoint(allowed_weights=names))
        for padding in ("static", "dynamic")
    ]
    line = (
        "allowed weights: tiny-uncased: random or unused, as allow_weights accepts: "
        f"{', '.join(names[:3])} and 2 more"
    )
    text = " ".join(html.unescape(written(make_report(results), form)).replace("\\", "").split())
    assert text.count(line) == 1
    assert "allowed weights" not in written(make_report(), form)


def test_a_narrow_terminal_loses_columns_and_is_told_which() -> None:
    report = _report(suite=make_suite(reference={"eval_accuracy": 0.8578}))
    assert to_table(report, 84) == NARROW


def test_a_very_narrow_terminal_gets_a_list_with_everything() -> None:
    assert to_table(_report(), 60) == BLOCKS


def test_the_real_thing_is_held_against_the_reference() -> None:
    results = [
        make_result(make_trial("static")),
        make_result(make_trial("dynamic"), samples_per_second=31.0),
    ]
    suite = make_suite(reference={"eval_accuracy": 0.8578, "eval_f1": 0.8997})
    assert to_table(make_report(results, suite=suite)) == REAL


def test_a_report_of_nothing_says_so() -> None:
    assert to_table(make_report([])) == "padding: 0 variants, 0 trials of glue/mrpc: nothing has run\n"


@pytest.mark.parametrize("width", [20, 40, 60, 70, 80, 90, 100, 120, 160])
def test_no_number_is_broken_at_any_width(width: int) -> None:
    shown = to_table(_report(), width)
    assert all(cell_len(line) <= width for line in shown.splitlines())
    if width >= 70:
        assert all(number in shown for number in ("85.5 ±0.7 %", "89.7 ±0.6 %", "6.20k", "12.4k"))


@pytest.mark.parametrize("variable", ["NO_COLOR", "nothing"])
def test_colour_is_left_out_where_it_is_not_wanted(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv(variable, "1")
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with console.capture() as capture:
        console.print(drawn(report_document(_report())))
    assert ("\x1b[32m" in capture.get()) == (variable != "NO_COLOR")


def test_many_failures_are_counted_and_not_all_listed() -> None:
    results = [
        make_result(make_trial(seed=seed), status="failed", reason=f"reason {seed}") for seed in range(50)
    ]
    shown = to_table(make_report(results))
    assert "seed 19: failed in train: reason 19" in shown
    assert "reason 20" not in shown
    assert "and 30 more that did not complete; `--format json` has every one" in shown


def _devices(**gpu: Any) -> list[tuple[str, dict[str, Any]]]:
    return [("cpu", {}), ("cuda:0", gpu)]


def _speeds() -> list[tuple[PaddingStrategy, float]]:
    return [("static", 25.0), ("dynamic", 31.0)]


def test_each_device_names_its_fastest() -> None:
    gpu = make_environment(device=Device(kind="cuda", index=0, name="Test GPU"))
    results = [
        make_result(make_trial(padding, seed, device=device), samples_per_second=speed + 0.1 * seed, **where)
        for device, where in _devices(environment=gpu)
        for padding, speed in _speeds()
        for seed in range(3)
    ]
    shown = to_table(make_report(results))
    assert "fastest on cpu" in shown
    assert "fastest on cuda:0" in shown
    assert "Test GPU; Test CPU, 2 cores" in shown


def test_trials_that_ran_beside_others_are_marked_and_none_is_the_fastest() -> None:
    results = [
        make_result(make_trial("static"), concurrent=2),
        make_result(make_trial("dynamic"), concurrent=2, samples_per_second=31.0),
    ]
    shown = to_table(make_report(results))
    assert shown.count("2 at once: times do not count") == 2
    assert "fastest" not in shown


def test_a_table_of_1000_trials_is_drawn_in_one_go() -> None:
    results = [
        make_result(make_trial("dynamic", seed % 10, checkpoint=f"checkpoint-{seed // 10}"))
        for seed in range(1_000)
    ]
    assert len(to_table(make_report(results)).splitlines()) > 100


def test_what_only_a_device_measures_has_columns_of_its_own() -> None:
    numbers = (
        measured("eval_accuracy", 0.86),
        measured("eval_f1", 0.9),
        measured("model_flops_utilization", 0.412),
        measured("peak_memory_allocated_bytes", 3.2e9),
    )
    gpu = make_environment(device=Device(kind="cuda", index=0, name="Test GPU"))
    results = [
        make_result(make_trial("static")),
        make_result(make_trial("static", device="cuda:0"), measurements=numbers, environment=gpu),
    ]
    lines = to_table(make_report(results)).splitlines()
    assert lines[5].split() == ["real", "padding", "train", "host", "device"]
    assert "MFU" in lines[6].split()
    assert lines[8].split("  ")[0] == "cpu"
    assert "3.0 GiB" in lines[9]
    assert "41.2 %" in lines[9]
    assert "- MFU not measured (cpu): no peak is known for Test CPU" in lines


def test_a_speed_of_some_seeds_alone_names_those_that_have_none() -> None:
    why = "the trial was interrupted and continued after step 6, in another process"
    whole, continued = make_result(make_trial(seed=0)), make_result(make_trial(seed=1))
    lacking = ("train_real_tokens_per_second", "energy_joules")
    numbers = tuple(each for each in continued.measurements if each.metric not in lacking)
    numbers += tuple(unmeasured(metric, why) for metric in lacking)
    table = to_table(make_report([whole, continued.model_copy(update={"measurements": numbers})]))
    assert f"- real tokens/s, energy not measured (tiny-uncased dynamic, seed 1): {why}" in table.replace(
        "\n  ", " "
    )


def test_seeds_that_went_wrong_alike_share_a_line() -> None:
    results = [make_result(make_trial(seed=seed), status="failed", reason="no peace") for seed in range(3)]
    results += [make_result(make_trial("static"), status="pending", phase="start", reason="not run yet")]
    shown = to_table(make_report(results))
    assert "- dynamic, seeds 0, 1, 2: failed in train: no peace" in shown
    assert "- static, seed 0: pending: not run yet" in shown


def test_a_reason_that_variants_share_is_written_once_with_their_names() -> None:
    reason = "MPNet has no SDPA attention in transformers 5.23\nuse attention: auto or eager"

    def failed(padding: PaddingStrategy, seed: int) -> TrialResult:
        return make_result(make_trial(padding, seed), status="failed", phase="load_model", reason=reason)

    two = [
        failed("static", 0),
        failed("dynamic", 0),
        failed("dynamic", 1),
        make_result(make_trial("unpadded")),
    ]
    for text in (
        to_table(make_report(two), 300),
        written(make_report(two), "markdown"),
        written(make_report(two), "html"),
    ):
        assert (
            text.count("MPNet has no SDPA attention in transformers 5.23; use attention: auto or eager") == 1
        )
        assert "static, seed 0; dynamic, seeds 0, 1: failed in load model: MPNet" in text
    assert "- every variant: failed in load model: MPNet" in to_table(make_report(two[:3]))
    many = [
        make_result(make_trial(checkpoint=f"c{number}"), status="failed", reason="no peace")
        for number in range(12)
    ]
    rest = [make_result(make_trial(checkpoint="good"))]
    shown = " ".join(to_table(make_report(many + rest)).split())
    assert "c6, seed 0; c7, seed 0; 4 more variants: failed in train: no peace" in shown


def _ran(recorded: str | None, padding: PaddingStrategy = "dynamic", **trial: Any) -> TrialResult:
    return make_result(make_trial(padding, **trial), checkpoint=make_checkpoint(attention=recorded))


def test_what_auto_attention_became_is_told_once_or_for_each_variant() -> None:
    one = make_report([_ran("eager", "static"), _ran("eager")])
    assert ", trainer, eager, " in constants(one)
    assert "eager attention" not in to_table(one)
    two = make_report([_ran("eager", checkpoint="mpnet"), _ran("sdpa", checkpoint="bert")])
    assert ", trainer, attention=auto, " in constants(two)
    for text in (to_table(two), written(two, "markdown"), written(two, "html")):
        assert "eager attention" in text
        assert "sdpa attention" in text
    axis = make_report([_ran("sdpa"), _ran("eager", attention="eager")])
    assert "attention" not in constants(axis)
    assert "sdpa attention" in to_table(axis)
    assert "eager attention" not in to_table(axis)
    assert ", attention=auto, " in constants(make_report([_ran(None)]))


def test_a_checkpoint_given_by_path_is_shown_by_its_folder_and_stored_whole() -> None:
    report = make_report([_ran("sdpa", checkpoint="~/models/tuned")])
    shown = to_table(report)
    assert "common settings: tuned, dynamic, " in shown
    assert "~/models" not in shown
    assert '"checkpoint": "~/models/tuned"' in to_json(report).decode()


def test_what_all_trials_share_beyond_the_usual_is_said_above_the_table() -> None:
    usual, unusual = (
        constants(make_report([make_result(make_trial("dynamic", 0, **changes))]))
        for changes in (dict[str, Any](), {"last_layer": "cls", "cuda_graphs": True})
    )
    assert "graphs" not in usual
    assert ", last_layer=cls, cuda_graphs=true, " in unusual


def _probed(**slow: float) -> str:
    """A table of three seeds of two paddings, in which the machine was at these factors after seeds of static."""
    results = [
        make_result(
            make_trial(padding, seed),
            probe=make_probe(1.0, slow.get(f"seed_{seed}", 1.0) if padding == "static" else 1.0, load=3.2),
        )
        for seed in range(3)
        for padding in PADDINGS
    ]
    return to_table(make_report(results))


def test_a_noisy_trial_is_marked_in_its_row_and_explained_below() -> None:
    shown = _probed(seed_1=0.71)
    (row,) = [line for line in shown.splitlines() if line.startswith("static")]
    assert row.rstrip().endswith("1 of 3 noisy: machine at 0.71 of this run's median")
    assert shown.count("noisy: machine at") == 1
    assert (
        "- noisy (beyond ±10 % of this run's median): static, seed 1: matrix product after its steps at 0.71, "
        "load average 3.2\n" in shown
    )


def test_of_several_noisy_trials_of_a_row_the_farthest_is_shown() -> None:
    shown = _probed(seed_0=0.8, seed_2=1.9)
    assert "2 of 3 noisy: machine at 1.90 of this run's median" in shown
    assert "static, seed 2: matrix product after its steps at 1.90" in shown
    assert "load average 3.2, 1 more seed not as far\n" in shown


def test_notes_that_differ_in_the_variant_alone_are_one_line() -> None:
    names = ("bert-base-uncased", "bert-base-cased", "distilbert-base-uncased")
    results = [
        make_result(
            make_trial(padding, checkpoint=name),
            checkpoint=make_checkpoint(requested=name, name=f"embedded/{place}", stand_in=True),
            degenerate=place > 0,
            probe=make_probe(1.0, 1.0 if padding == "dynamic" else 0.5),
        )
        for place, name in enumerate(names)
        for padding in (*PADDINGS, "bucketed", "unpadded")
    ]
    chosen = tuple(f"checkpoint {name}: stand-in embedded/{at}, embedded" for at, name in enumerate(names))
    notes = report_document(make_report(results, notes=(*chosen, "resumed"))).notes
    assert sum("stand-in" in note for note in notes) == 1
    assert "resumed" in notes
    (degenerate,) = [note for note in notes if note.startswith("degenerate: ")]
    assert degenerate.count("bert-base-cased ") == degenerate.count("distilbert-base-uncased ") == 4
    (noisy,) = [note for note in notes if note.startswith("noisy ")]
    assert noisy.count(", seed 0: ") == 8
    assert noisy.endswith("; 1 more variant")


def test_a_device_that_was_held_back_marks_its_row_and_a_note_tells_why() -> None:
    def state(**changes: Any) -> DeviceState:
        return DeviceState(clock_mhz=1980, limited_s={"power": 4.0, "temperature": 0.0}, **changes)

    def probe(before: DeviceState, after: DeviceState) -> Probe:
        plain = make_probe()
        return plain.model_copy(
            update={
                moment: reading.model_copy(update={"device": found})
                for moment, reading, found in (
                    ("before", plain.before, before),
                    ("after", plain.after, after),
                )
            }
        )

    limited = state().model_copy(update={"limited_s": {"power": 5.5, "temperature": 0.05}})
    probes = [
        probe(state(), state()),
        probe(state(), limited),
        probe(state(other_processes=0), state(slowdowns=("hw_thermal_slowdown",), other_processes=1)),
    ]
    results = [make_result(make_trial("static", seed), probe=each) for seed, each in enumerate(probes)]
    shown = to_table(make_report([*results, make_result(make_trial("dynamic", 0))]))
    (row,) = [line for line in shown.splitlines() if line.startswith("static")]
    assert "device held back in 2 of 3" in row
    notes = [line for line in shown.splitlines() if line.startswith("- device held back")]
    assert notes == [
        "- device held back: static, seed 1: clocks lowered by the limit of power for 1.5 s",
        "- device held back: static, seed 2: hw_thermal_slowdown, 1 other process on the device",
    ]


def test_a_side_of_a_session_is_named_below_its_table() -> None:
    session = Session(id="0123456789abcdef", side="candidate", positions=tuple(range(6)))
    shown = to_table(make_report(session=session))
    assert "- A/B session 0123456789abcdef: this is its candidate; its trials took turns with those" in shown
    assert "A/B session" not in to_table(make_report())


def test_a_report_of_several_devices_states_their_global_batch() -> None:
    def stated(*shapes: tuple[int, int]) -> list[str]:
        trials = [
            make_trial(engine="loop", world_size=ranks, train=Train(per_device_train_batch_size=batch))
            for ranks, batch in shapes
        ]
        lines = written(make_report([make_result(each) for each in trials]), "markdown")
        return [line for line in lines.splitlines() if "global batch" in line]

    assert stated((1, 8)) == []
    (same,) = stated((1, 8), (2, 4))
    assert same.endswith("global batch: 8 examples a step over all devices of a trial")
    (differ,) = stated((1, 8), (2, 8))
    assert differ.endswith(
        "global batches differ, which is another training condition: 8 in world_size=1; 16 in world_size=2"
    )


def test_a_report_with_rebalanced_batches_tells_that_seeds_share_an_order() -> None:
    rebalanced = make_result(make_trial("batch_rebalance"))
    assert "batch_rebalance trains in one order for all seeds" in to_table(make_report([rebalanced]))
    assert "one order" not in to_table(make_report([make_result(make_trial("group_by_length"))]))


def test_a_limit_of_rows_is_noted_and_not_held_against_the_reference() -> None:
    trial = make_trial().model_copy(update={"task": Task(limit=Limit(train=64, eval=40))})
    report = make_report([make_result(trial)], suite=make_suite(reference={"eval_accuracy": 0.86}))
    text = to_table(report)
    assert (
        "limit: only the first rows of glue/mrpc in the order of its files: train 64, eval 40; scores" in text
    )
    assert "reference: no row is compared with it" in text
    assert "limit:" not in to_table(make_report([make_result()]))


def test_a_terminal_makes_neither_details_nor_charts() -> None:
    def refused() -> list[Any]:
        raise AssertionError

    document = report_document(make_report())
    bare = replace(document, details=Later(refused), charts=Later(refused))
    assert render(bare, "table") == render(document, "table")
    assert [table.title for table in document.details][:1] == ["Only what differs"]
    with pytest.raises(AssertionError):
        render(bare, "markdown")


def test_a_role_that_no_seed_varies_marks_its_row_and_an_adapter_is_noted() -> None:
    seeds = [SeedRoles(init=0, order=at, dropout=at) for at in range(3)]
    lora = Adapter(kind="lora")
    report = make_report(
        [
            *(make_result(make_trial(seed=seed)) for seed in seeds),
            *(make_result(make_trial(seed=seed, adapter=lora)) for seed in seeds),
        ]
    )
    text = to_table(report)
    assert text.count("init not varied with the seed") == 2
    assert "an adapter trains a small part of the parameters" in text.replace("\n  ", " ")
