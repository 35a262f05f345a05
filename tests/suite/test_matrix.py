from __future__ import annotations

import pytest

from harness.analysis.naming import labels
from harness.errors import InvalidInputError
from harness.model.arguments import Train
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.model.values import Adapter, Padding
from harness.suite.matrix import count_trials, expand
from harness.suite.suite_file import parse_suite

CPU = ("cpu",)
TWO_GPUS = ("cuda:0", "cuda:1", "cpu")


def suite_of(matrix: str, rest: str = "") -> Suite:
    return parse_suite(f"name: x\nmatrix: {{checkpoint: [a], {matrix}}}\n{rest}", "suite.yaml")


def refused(suite: Suite, devices: tuple[str, ...] = CPU) -> str:
    with pytest.raises(InvalidInputError) as caught:
        expand(suite, devices)
    assert caught.value.hint
    return str(caught.value)


def test_the_matrix_is_the_product_of_its_axes_with_the_seeds_outermost_and_every_second_in_reverse() -> None:
    trials = expand(suite_of("padding: [static, dynamic], seed: [1, 0, 2]"), CPU)
    assert [(trial.seed, trial.padding.strategy) for trial in trials] == [
        (1, "static"),
        (1, "dynamic"),
        (0, "dynamic"),
        (0, "static"),
        (2, "static"),
        (2, "dynamic"),
    ]


@pytest.mark.parametrize("seeds", [2, 4, 6])
def test_over_an_even_number_of_seeds_linear_drift_meets_every_variant_of_a_device_equally(
    seeds: int,
) -> None:
    matrix = f"padding: [static, dynamic, unpadded], device: [all], seed: {list(range(seeds))}"
    suite = suite_of(matrix, "include: [{padding: bucketed, precision: bf16, device: 'cuda:1'}]")
    for device in TWO_GPUS:
        queue = [trial for trial in expand(suite, TWO_GPUS) if trial.device == device]
        positions: dict[str, list[int]] = {}
        for position, trial in enumerate(queue):
            positions.setdefault(trial.variant_id, []).append(position)
        assert len(positions) == (4 if device == "cuda:1" else 3)
        assert len({sum(each) for each in positions.values()}) == 1


def test_axes_that_are_left_out_take_their_defaults() -> None:
    (trial,) = expand(suite_of(""), TWO_GPUS)
    assert trial == Trial(checkpoint="a", padding=Padding(strategy="dynamic"), device="cuda:0")


def test_written_values_become_the_fields_of_a_trial() -> None:
    text = (
        "name: x\nmatrix: {checkpoint: [{name: a, revision: abc}],"
        " padding: [{strategy: static, length: 128}],"
        " precision: [bf16], attention: [eager], token_type_ids: [drop], engine: [trainer]}\n"
        "train: {num_train_epochs: 5}"
    )
    (trial,) = expand(parse_suite(text, "x"), CPU)
    assert (trial.checkpoint, trial.revision) == ("a", "abc")
    assert trial.padding == Padding(strategy="static", length=128)
    assert (trial.precision, trial.attention, trial.token_type_ids) == ("bf16", "eager", "drop")
    assert trial.train == Train(num_train_epochs=5)


def test_a_train_axis_sets_the_value_of_its_trials() -> None:
    suite = suite_of("train.learning_rate: [1e-5, 2e-5], train.max_steps: [7]")
    assert [trial.train for trial in expand(suite, CPU)] == [
        Train(learning_rate=1e-5, max_steps=7),
        Train(learning_rate=2e-5, max_steps=7),
    ]


def test_devices_become_concrete() -> None:
    def devices(written: str) -> list[str]:
        return [trial.device for trial in expand(suite_of(f"device: {written}"), TWO_GPUS)]

    assert devices("[auto]") == ["cuda:0"]
    assert devices("[all]") == ["cuda:0", "cuda:1", "cpu"]
    assert devices("[cuda, cpu]") == ["cuda:0", "cpu"]


def test_a_device_that_is_not_here_stays_as_it_was_asked_for() -> None:
    trials = expand(suite_of("device: ['cuda:3', mps, cpu]"), CPU)
    assert [trial.device for trial in trials] == ["cuda:3", "mps", "cpu"]


def test_exclude_takes_away_what_equals_every_key_it_gives() -> None:
    rest = "exclude: [{padding: static, seed: 1}]"
    trials = expand(suite_of("padding: [static, dynamic], seed: [0, 1]", rest), CPU)
    assert [(trial.padding.strategy, trial.seed) for trial in trials] == [
        ("static", 0),
        ("dynamic", 0),
        ("dynamic", 1),
    ]


def test_exclude_compares_meanings_and_not_spellings() -> None:
    suite = suite_of("padding: [static, dynamic]", "exclude: [{padding: {strategy: static}}]")
    assert [trial.padding.strategy for trial in expand(suite, CPU)] == ["dynamic"]


def test_exclude_of_a_device_applies_after_auto_is_known() -> None:
    rest = "exclude: [{device: cpu, precision: bf16}]"
    suite = suite_of("device: [auto], precision: [fp32, bf16]", rest)
    assert len(expand(suite, CPU)) == 1
    assert len(expand(suite, TWO_GPUS)) == 2


def test_include_adds_its_values_with_every_value_of_the_other_axes_and_joins_each_seed() -> None:
    suite = suite_of("padding: [static], seed: [0, 1]", "include: [{checkpoint: b, padding: dynamic}]")
    assert [(trial.seed, trial.checkpoint, trial.padding.strategy) for trial in expand(suite, CPU)] == [
        (0, "a", "static"),
        (0, "b", "dynamic"),
        (1, "b", "dynamic"),
        (1, "a", "static"),
    ]


def test_include_may_use_an_axis_that_the_matrix_leaves_out() -> None:
    suite = suite_of("seed: [0]", "include: [{precision: bf16, train.learning_rate: 1e-3}]")
    assert [(trial.precision, trial.train.learning_rate) for trial in expand(suite, CPU)] == [
        ("fp32", 5e-5),
        ("bf16", 1e-3),
    ]


def test_include_may_bring_back_what_was_excluded() -> None:
    rest = "exclude: [{padding: static}]\ninclude: [{padding: static, seed: 0}]"
    trials = expand(suite_of("padding: [static, dynamic], seed: [0, 1]", rest), CPU)
    assert sorted((trial.padding.strategy, trial.seed) for trial in trials) == [
        ("dynamic", 0),
        ("dynamic", 1),
        ("static", 0),
    ]


def test_the_same_trial_twice_is_refused_by_name() -> None:
    found = refused(suite_of("device: [auto, cpu], seed: [7]"))
    assert "the same trial more than once: " in found
    assert "a dynamic cpu fp32" in found
    assert "seed=7" in found


def test_an_include_of_what_is_there_already_is_refused() -> None:
    rest = "exclude: [{padding: static, seed: 1}]\ninclude: [{padding: static}]"
    assert "more than once" in refused(suite_of("padding: [static, dynamic], seed: [0, 1]", rest))


def test_a_plan_that_excludes_everything_is_refused() -> None:
    assert "leaves no trial" in refused(suite_of("seed: [0]", "exclude: [{seed: 0}]"))


@pytest.mark.parametrize("device", ["cpu", "mps", "auto"])
def test_fp16_and_tf32_need_cuda(device: str) -> None:
    found = refused(suite_of(f"device: [{device}], precision: [fp32, fp16]"))
    assert "fp16 needs CUDA" in found
    found = refused(suite_of(f"device: [{device}], precision: [fp32, tf32]"))
    assert "tf32 is a format of CUDA devices" in found


def test_fp16_is_fine_on_cuda_and_where_it_is_excluded_elsewhere() -> None:
    matrix = "device: [cpu, cuda], precision: [fp32, fp16]"
    assert len(expand(suite_of(matrix, "exclude: [{device: cpu, precision: fp16}]"), CPU)) == 3


@pytest.mark.parametrize(
    ("matrix", "why", "exclude"),
    [
        ("device: [cpu], engine: [loop]", "CUDA graphs need CUDA", "{device: cpu, cuda_graphs: true}"),
        ("device: [cuda]", "the loop engine alone", "{engine: trainer, cuda_graphs: true}"),
        (
            "device: [cuda], engine: [loop], padding: [static, unpadded]",
            "one shape",
            "{padding: unpadded, cuda_graphs: true}",
        ),
        (
            "device: [cuda], engine: [loop], padding: [{strategy: unpadded, multiple_of: 8}]",
            "one shape",
            "{padding: {strategy: unpadded, multiple_of: 8}, cuda_graphs: true}",
        ),
    ],
)
def test_graphs_are_refused_where_none_can_be_captured(matrix: str, why: str, exclude: str) -> None:
    suite = suite_of(f"{matrix}, cuda_graphs: [true, false]")
    with pytest.raises(InvalidInputError) as caught:
        expand(suite, CPU)
    assert why in caught.value.message
    assert f"exclude: [{exclude}]" in (caught.value.hint or "")
    obeyed = suite_of(f"{matrix}, cuda_graphs: [true, false]", f"exclude: [{exclude}]")
    assert not any(
        trial.cuda_graphs and trial.padding.strategy == "unpadded" for trial in expand(obeyed, CPU)
    )


def test_graphs_are_fine_on_every_cuda_device_with_the_loop_engine() -> None:
    matrix = "device: [cuda, 'cuda:1'], engine: [loop], padding: [static, dynamic, bucketed]"
    trials = expand(suite_of(f"{matrix}, cuda_graphs: [true]"), CPU)
    assert [trial.cuda_graphs for trial in trials] == [True] * 6


def test_jagged_attention_is_for_unpadded_batches() -> None:
    matrix = "padding: [dynamic, unpadded], attention: [sdpa, jagged]"
    with pytest.raises(InvalidInputError) as caught:
        expand(suite_of(matrix), CPU)
    exclude = "exclude: [{padding: dynamic, attention: jagged}]"
    assert exclude in (caught.value.hint or "")
    assert len(expand(suite_of(matrix, exclude), CPU)) == 3


def test_trials_are_counted_with_the_devices_of_the_machine() -> None:
    suite = suite_of("device: [all], seed: [0, 1]", "include: [{padding: static}, {device: cpu, seed: 5}]")
    assert count_trials(suite, 1) == 2 + 2 + 1
    assert count_trials(suite, 3) == 6 + 6 + 1


def test_a_plan_too_large_on_this_machine_is_refused_before_it_is_expanded() -> None:
    suite = suite_of("device: [all], seed: [0, 1]", "max_trials: 2")
    assert len(expand(suite, CPU)) == 2
    assert "6 trials > max 2" in refused(suite, TWO_GPUS)


@pytest.mark.parametrize(
    "matrix",
    [
        {"padding": ("dynamic",)},
        {"checkpoint": ("a",), "colour": ("red",)},
        {"checkpoint": (3,)},
        {"checkpoint": ("a",), "padding": ({"strategy": "dynamic", "length": 3},)},
    ],
)
def test_a_suite_from_elsewhere_that_holds_no_valid_matrix_is_refused(
    matrix: dict[str, tuple[object, ...]],
) -> None:
    with pytest.raises(InvalidInputError, match="suite x: "):
        expand(Suite(name="x", matrix=matrix), CPU)


ADAPTERS = "name: x\nmatrix: {checkpoint: [a], device: [cpu], adapter: [%s]}\n"


def test_an_adapter_is_a_word_or_a_mapping_and_none_adds_nothing_to_a_trial() -> None:
    text = (
        ADAPTERS % "none, lora, {kind: lora, r: 4, alpha: 16, dropout: 0.1, targets: [value, query, value]}"
    )
    plain, short, full = expand(parse_suite(text, "suite.yaml", ()), ["cpu"])
    assert "adapter" not in plain.model_dump()
    assert plain.id == plain.model_copy(update={"adapter": Adapter(kind="none")}).id
    assert short.adapter == Adapter(kind="lora", r=8, alpha=8, dropout=0)
    assert full.adapter.targets == ("query", "value")
    assert Trial.model_validate_json(full.model_dump_json()) == full
    assert list(labels([plain, short, full]).values()) == [
        "adapter none",
        "adapter lora(r=8)",
        "adapter lora(r=4, alpha=16, dropout=0.1, targets=query+value)",
    ]


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        ("{kind: none, r: 4}", "r belongs to lora, not to none"),
        ("{kind: lora, rank: 4}", "unknown key 'rank'"),
        ("{kind: lora, r: 0}", "r must be a whole number, at least 1"),
        ("{kind: lora, dropout: 1}", "dropout must be a finite number, at least 0 and less than 1"),
        ("{kind: lora, targets: []}", "targets names no layer"),
        ("{kind: lora, targets: query}", "targets must be a list"),
        ("lorra", "did you mean lora"),
    ],
)
def test_a_wrong_adapter_is_refused(adapter: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        parse_suite(ADAPTERS % adapter, "suite.yaml", ())


def test_only_a_training_that_can_continue_keeps_its_state() -> None:
    measure = "measure: {checkpoint_every: 100}"
    (trial,) = expand(suite_of("engine: [loop]", measure), CPU)
    # How a trial is measured is no part of what it is.
    assert trial == expand(suite_of("engine: [loop]"), CPU)[0]
    for axes in ("engine: [trainer, loop]", "engine: [loop], world_size: [2]"):
        message = refused(suite_of(axes, measure))
        assert "measure.checkpoint_every is for the loop engine on one device" in message
