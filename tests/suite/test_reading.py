from __future__ import annotations

import json

import pytest

from harness.errors import InvalidInputError
from harness.model.arguments import Train
from harness.model.suite import Gate
from harness.model.tasks import Task
from harness.model.values import ChosenAttention, ChosenCheckpoint, Padding
from harness.suite.suite_file import parse_suite
from tests.suite.suite_texts import MATRIX, SMALL, refusal, refusal_with, refusals, suite_with


def test_a_small_suite_takes_the_defaults() -> None:
    suite = suite_with()
    assert suite.name == "small"
    assert suite.task == Task()
    assert suite.train == Train()
    assert suite.matrix == {
        "checkpoint": (ChosenCheckpoint(name="bert-base-uncased"),),
        "padding": (Padding(strategy="dynamic"),),
        "device": ("cpu",),
    }
    assert suite.max_trials == 1_000


def test_weights_that_may_be_missing_are_a_list_of_names() -> None:
    assert suite_with().allow_weights == ()
    assert "allow_weights" not in suite_with().model_dump_json()
    assert suite_with("allow_weights: [bert.pooler.*, x]").allow_weights == ("bert.pooler.*", "x")
    assert "allow_weights must be a list; found the text" in refusal_with("allow_weights: bert.*")
    assert "1 to 256 characters" in refusal_with('allow_weights: [""]')


def test_all_errors_come_at_once_in_the_order_of_the_file() -> None:
    lines = refusals(
        "name: ../x\nepochs: 3\nmatrix: {checkpoint: [], padding: [stati]}\ntrain: {lr: 1}\n", ["foo=1"]
    )
    assert [line.partition(": ")[0] for line in lines] == [
        "suite.yaml:1:7",
        "suite.yaml:2:1",
        "suite.yaml:3:22",
        "suite.yaml:3:36",
        "suite.yaml:4:9",
        "-s foo=1",
    ]


def test_more_problems_than_anyone_reads_are_counted() -> None:
    lines = refusals("\n".join(f"unknown{n}: 1" for n in range(500)))
    assert len(lines) == 101
    assert lines[-1] == "and 402 more problems, not shown"


def test_missing_keys_are_named() -> None:
    assert refusals("train: {}") == [
        "suite.yaml:1:1: the key name is missing in the suite",
        "suite.yaml:1:1: the key matrix is missing in the suite",
    ]


@pytest.mark.parametrize(
    ("rest", "what"),
    [
        ("epochs: 3", "suite.yaml:3:1: unknown key 'epochs' (did you mean train.num_train_epochs?)"),
        ("lr: 5e-5", "suite.yaml:3:1: unknown key 'lr' (did you mean train.learning_rate?)"),
        ("seed: 3", "suite.yaml:3:1: unknown key 'seed' (did you mean matrix.seed?)"),
        ("trian: {}", "suite.yaml:3:1: unknown key 'trian' (did you mean train?)"),
        ("train: {epoch: 3}", "suite.yaml:3:9: unknown key 'epoch' (did you mean num_train_epochs?)"),
        ("train: {batch_size: 8}", "suite.yaml:3:9: unknown key 'batch_size' (did you mean per_device_"),
        ("train: {seed: 8}", "suite.yaml:3:9: 'seed' of transformers.TrainingArguments is not supported: t"),
        ("task: {max_seq_length: 128}", "suite.yaml:3:8: unknown key 'max_seq_length' (did you mean max_len"),
        ("measure: {warmup: 3}", "suite.yaml:3:11: unknown key 'warmup' (did you mean warmup_steps?)"),
        ("gates: [{metric: eval_f1, minimum: 1}]", "suite.yaml:3:27: unknown key 'minimum' (did you mean m"),
        ("reference: {f1: 0.9}", "suite.yaml:3:13: there is no metric 'f1' (did you mean eval_f1?)"),
        ("reference: {eval_f1: 89.97}", "suite.yaml:3:12: eval_f1 89.97 is impossible: it is from 0"),
        ("reference: {eval_mcc: -1.1}", "suite.yaml:3:12: eval_mcc -1.1 is impossible: it is from -1 to 1"),
        ("reference: {train_seconds: 90}", "suite.yaml:3:12: train_seconds: a reference is a published sco"),
        ("gates: [{metric: eval_f2, min: 1}]", "suite.yaml:3:18: there is no metric 'eval_f2' (did you mean"),
        ("task: mrpc", "suite.yaml:3:7: unknown task 'mrpc' (did you mean glue/mrpc?)"),
        ("train: {optim: adamw}", "suite.yaml:3:16: optim must be one of adamw_torch, adamw_torch_fused, "),
    ],
)  # fmt: skip
def test_what_is_not_known_names_what_is_near(rest: str, what: str) -> None:
    assert refusal_with(rest).startswith(what)


def test_an_axis_of_another_name_is_suggested() -> None:
    lines = refusals("name: x\nmatrix: {model: [a], learning_rate: [1e-5], checkpoint: [a]}")
    assert lines == [
        "suite.yaml:2:10: unknown axis 'model' (did you mean checkpoint?)",
        "suite.yaml:2:22: unknown axis 'learning_rate' (did you mean train.learning_rate?)",
    ]


@pytest.mark.parametrize("value", [".nan", "-1", "0", ".inf", "1e99", "2", "true", "~", "[1]", "{}"])
def test_a_learning_rate_out_of_range_states_the_range(value: str) -> None:
    found = refusal_with(f"train: {{learning_rate: {value}}}")
    assert "learning_rate must be a finite number, more than 0 and at most 1; found " in found


@pytest.mark.parametrize("value", ["1.5", "true", '"3"', "1e1", "0", "-1", "99999", "~", "abc"])
def test_an_integer_is_a_whole_number_and_nothing_else(value: str) -> None:
    found = refusal_with(f"train: {{num_train_epochs: {value}}}")
    assert "num_train_epochs must be a whole number, at least 1 and at most 1,000; found " in found


def test_a_number_for_text_is_to_be_quoted() -> None:
    assert refusal_with("task: {label: 3}") == (
        "suite.yaml:3:15: label must be text; found the number 3 (put it in quotes)"
    )


@pytest.mark.parametrize(
    "name",
    ["../x", "a/b", "x" * 300, "CON", "com1", "\U0001f600", "-x", '""', "a b", ".x", '"x\\n"', "'a\u202eb'"],
)
def test_a_name_that_is_no_folder_name_is_refused_in_printable_text(name: str) -> None:
    found = refusal(f"name: {name}\n{MATRIX}")
    assert "reserved file name" in found or "1 to 64 letters, digits, - and _" in found
    assert found.isprintable()


def test_control_characters_in_a_value_are_shown_escaped() -> None:
    found = refusal_with(r'train: {optim: "\x1b]0;x\x07 ::error::\n"}')
    assert found.isprintable()


def test_a_task_has_a_short_form_and_a_mapping() -> None:
    assert suite_with("task: glue/mrpc").task == Task()
    assert suite_with("task: {data_dir: /data, max_length: 128}").task == Task(
        data_dir="/data", max_length=128
    )


def test_another_data_set_has_no_configuration_unless_it_says_so() -> None:
    assert suite_with("task: {dataset: imdb, text: [text]}").task.name == "imdb"
    assert suite_with("task: {dataset: x, config: y}").task.name == "x/y"


@pytest.mark.parametrize("text", ["[]", "[a, b, c]", "a"])
def test_a_task_has_one_or_two_text_columns(text: str) -> None:
    assert "text must be a list of 1 to 2 items" in refusal_with(f"task: {{text: {text}}}")


def test_an_empty_axis_is_refused() -> None:
    assert refusal("name: x\nmatrix: {checkpoint: [a], seed: []}") == (
        "suite.yaml:2:33: the axis seed is empty; it needs at least one value"
    )


def test_an_axis_that_is_one_value_is_refused_with_the_way_to_write_it() -> None:
    assert refusal("name: x\nmatrix: {checkpoint: a}") == (
        "suite.yaml:2:22: the axis checkpoint must be a list; found the text 'a' (a list of one is [value])"
    )


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        ("seed: [0, 1, 0]", "'0'"),
        ("padding: [static, {strategy: static}]", "'static'"),
        ("device: [cuda, 'cuda:0']", "'cuda:0'"),
        ("train.learning_rate: [1e-5, 0.00001]", "'1e-05'"),
        ("train.warmup_steps: [0, 0.0]", "'0.0'"),
    ],
)
def test_a_value_twice_on_an_axis_is_refused_by_name(axis: str, value: str) -> None:
    found = refusal(f"name: x\nmatrix:\n  checkpoint: [a]\n  {axis}\n")
    name = axis.partition(":")[0]
    assert found.endswith(f"{value} again on the axis {name}, in line 4 already")


@pytest.mark.parametrize(
    "axis",
    [
        "device: [gpu]", "device: ['cuda:']", "device: ['cuda:-1']", "seed: [-1]", "seed: [4294967296]",
        "precision: [fp8]", "engine: [deepspeed]", "attention: [flash]", "token_type_ids: [keep]",
        "padding: [{strategy: static, length: 0}]", "padding: [{length: 3}]", "padding: [longest]",
        "padding: [{strategy: dynamic, length: 128}]", "train.num_train_epochs: [1.5]", "seed: [true]",
        "train.learning_rate: ['1e-5']", "padding: [~]", "padding: [[static]]",
    ],
)  # fmt: skip
def test_a_value_that_does_not_belong_on_its_axis_is_refused(axis: str) -> None:
    assert refusal(f"name: x\nmatrix:\n  checkpoint: [a]\n  {axis}\n").startswith("suite.yaml:4:")


def test_length_belongs_to_static_padding_alone() -> None:
    found = refusal("name: x\nmatrix: {checkpoint: [a], padding: [{strategy: bucketed, length: 9}]}")
    assert found == "suite.yaml:2:37: length belongs to static padding alone, not to bucketed"


@pytest.mark.parametrize(
    ("attention", "reason"),
    [
        ("{kernel: a/b}", "attention is a word, {sdpa: math|efficient|flash|cudnn} or {kernel: REPO"),
        ("{sdpa: fast}", "attention is a word, {sdpa: math|efficient|flash|cudnn} or {kernel: REPO"),
        (f"{{kernel: a, revision: {40 * 'a'}}}", "a kernel is a repository of the Hub: {kernel: OWNER/NAME"),
        ("{kernel: a/b, revision: main}", "pin its revision, a commit of 40 digits"),
        ("{name: eager, backend: math}", "eager has no math kernel: write {sdpa: math}"),
        ("{name: sdpa, kernel: a/b}", "write a kernel as {kernel: OWNER/NAME, revision: SHA}"),
    ],
)
def test_attention_that_no_kernel_computes_is_refused(attention: str, reason: str) -> None:
    found = refusal_with(f"include: [{{attention: {attention}}}]")
    assert found.startswith("suite.yaml:3:")
    assert reason in found


def test_a_kernel_is_one_value_with_its_commit() -> None:
    kernel = {"kernel": "owner/name", "revision": "0123456789abcdef" * 2 + "01234567"}
    (value,) = suite_with("", [f"matrix.attention=[{json.dumps(kernel)}]"]).matrix["attention"]
    assert isinstance(value, ChosenAttention)
    assert (value.spelled(), str(value)) == (kernel, "kernel(owner/name@0123456789ab)")


def test_more_trials_than_the_limit_are_refused_before_they_are_expanded() -> None:
    def axis(values: int) -> str:
        return "[" + ",\n  ".join(map(str, range(values))) + "]"

    text = (
        "name: x\nmatrix:\n  checkpoint: [a, b, c]\n"
        f"  seed: {axis(1_000)}\n  train.num_train_epochs: {axis(401).replace('[0,', '[')}\n"
        "  padding: [static, dynamic, bucketed, unpadded]\n"
    )
    assert refusal(text) == (
        "suite.yaml:3:3: 4,800,000 trials > max 1,000 (counted before exclude); "
        "max_trials raises the limit, up to 100,000"
    )


def test_the_limit_can_be_raised_up_to_its_own() -> None:
    seeds = "matrix.seed=[" + ", ".join(map(str, range(1_500))) + "]"
    assert "1,500 trials > max 1,000" in refusal_with("", [seeds])
    assert len(suite_with("max_trials: 1500", [seeds]).matrix["seed"]) == 1_500
    assert "at most 100,000" in refusal_with("max_trials: 100001")


@pytest.mark.parametrize(
    ("rest", "what"),
    [
        ("exclude: {device: cpu}", "exclude must be a list of mappings; found a mapping"),
        ("include: [3]", "each entry of include is a mapping of axes to one value each; found the number 3"),
        (
            "exclude: [{}]",
            "each entry of exclude is a mapping of axes to one value each; found an empty mapping",
        ),
        ("exclude: [{seed: [0]}]", "seed takes one value in exclude, not a list"),
        ("exclude: [{sed: 0}]", "unknown axis 'sed' (did you mean seed?)"),
        ("include: [{padding: stati}]", "found the text 'stati' (did you mean static?)"),
        ("exclude: [{device: all}]", "device: all excludes nothing in particular"),
    ],
)
def test_include_and_exclude_hold_one_value_an_axis(rest: str, what: str) -> None:
    assert what in refusal_with(rest)


@pytest.mark.parametrize(
    "entry", ["{padding: static}", "{device: cpu, precision: fp16}", "{device: mps}", "{train.max_steps: 3}"]
)
def test_an_exclude_that_matches_nothing_is_refused_with_its_line(entry: str) -> None:
    assert refusal_with(f"exclude:\n  - {entry}").startswith("suite.yaml:4:5: this exclude matches no trial")


def test_an_exclude_of_a_device_may_match_on_another_machine() -> None:
    text = "name: x\nmatrix: {checkpoint: [a], device: [auto], precision: [fp32, bf16]}\n"
    suite = parse_suite(text + "exclude: [{device: mps, precision: bf16}]", "suite.yaml")
    assert suite.exclude == ({"device": "mps", "precision": "bf16"},)


@pytest.mark.parametrize(
    "entry", ["{padding: dynamic}", "{seed: 0}", "{train.learning_rate: 5e-5}", "{device: cpu}"]
)
def test_an_include_that_adds_nothing_is_refused_with_its_line(entry: str) -> None:
    assert refusal_with(f"include:\n  - {entry}").startswith("suite.yaml:4:5: this include adds nothing")


@pytest.mark.parametrize(
    "gate",
    [
        "{metric: eval_f1}",
        "{metric: eval_f1, min: 0.9, max: 0.8}",
        "{metric: eval_f1, min: 86}",
        "{metric: eval_accuracy, max_drop: 2}",
        "{metric: eval_accuracy, max_drop: -0.1}",
        "{metric: eval_accuracy, max_drop: -1%}",
        "{metric: eval_accuracy, max_drop: 101%}",
        "{metric: eval_accuracy, max_drop: 1 %}",
        "{metric: eval_accuracy, max_drop: .nan}",
        "{metric: eval_accuracy, min: 86%}",
        "{metric: model_flops, max_drop: 1%}",
        "{metric: 3, min: 1}",
        "{min: 0.8}",
        "eval_f1",
    ],
)
def test_a_gate_that_cannot_be_meant_is_refused(gate: str) -> None:
    assert refusal_with(f"gates: [{gate}]").startswith("suite.yaml:3:")


@pytest.mark.parametrize("drop", ["1%", "2.5%", "100%"])
def test_a_percentage_is_accepted_as_the_largest_drop_and_kept_as_written(drop: str) -> None:
    gates = suite_with(f"gates: [{{metric: train_real_tokens_per_second, max_drop: {drop}}}]").gates
    assert gates == (Gate(metric="train_real_tokens_per_second", max_drop=drop),)


def test_a_drop_of_more_than_one_is_fine_where_the_unit_is_no_ratio() -> None:
    assert suite_with("gates: [{metric: train_step_seconds, max_drop: 1.5}]").gates[0].max_drop == 1.5


def test_the_order_of_keys_does_not_matter() -> None:
    assert parse_suite(f"{MATRIX}\nname: small\n", "x") == parse_suite(SMALL, "x")


def test_the_file_is_named_as_it_was_given() -> None:
    with pytest.raises(InvalidInputError, match=r"^some/where\.yaml:1:1: "):
        parse_suite("3", "some/where.yaml")


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        (
            "{train: 0}",
            "train must be a whole number, at least 1 and at most 1,000,000,000; found the number 0",
        ),
        ("{trian: 5}", "unknown key 'trian' (did you mean train?)"),
        ("{eval: '5'}", "found the text '5' (write the number without quotes)"),
    ],
)
def test_a_limit_of_the_task_is_explained_like_other_values(limit: str, found: str) -> None:
    task = f"task: {{dataset: own, data_dir: x, text: [a], label: b, limit: {limit}}}"
    assert found in refusal_with(task)
