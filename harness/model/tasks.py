"""Task: a data set of texts with classes or numbers; and the tasks of GLUE by name.

GLUE is by Wang et al. 2018 (arXiv:1804.07461). Names are those of the Hub's `nyu-mll/glue`, whose
configurations are the keys of `GLUE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from harness.model.axis import Aka
from harness.model.frozen import Frozen, is_none
from harness.model.metrics import METRICS, headlines, metrics_of, on_split
from harness.words import did_you_mean, quoted

TaskKind = Literal["classification", "regression"]


class Limit(Frozen):
    """The first rows of each split, in the order of the files, that a task keeps; None keeps all rows."""

    train: Annotated[int | None, Field(ge=1, le=1_000_000_000, exclude_if=is_none)] = None
    eval: Annotated[int | None, Field(ge=1, le=1_000_000_000, exclude_if=is_none)] = None

    @model_validator(mode="after")
    def _limits_a_split(self) -> Self:
        if self.train is None and self.eval is None:
            raise ValueError("a limit needs train, eval or both")
        return self

    def __str__(self) -> str:
        return ", ".join(f"{split} {rows:,}" for split, rows in self if rows is not None)


SplitName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="1 to 64 letters, digits, _, . and -, the first a letter or digit",
    ),
]


class Task(Frozen):
    """A data set of texts with classes or numbers: where it comes from and which columns matter.

    `kind` is `classification`, or `regression` on a number, whose head has one output and mean squared error.

    The defaults are GLUE MRPC. `max_length` is the one truncation length of all variants of a suite,
    in tokens; None uses the limit of the model. `data_dir` is the location of the files; the identity of a
    trial does not include it, since the result records a hash of the content. A label column with more than
    `max_classes` distinct labels is rejected as the wrong column; this limit is not in the identity either.
    `limit` keeps the first rows of a split, always the same ones; it is in the identity where it is set.
    `eval_split` is one split, or a list of several: the scores of the first are `eval_accuracy` and so on,
    those of each further one have its name in theirs, such as `eval_validation_mismatched_accuracy`.
    """

    dataset: Annotated[str, Aka(("dataset_name", "path"))] = "nyu-mll/glue"
    config: Annotated[str | None, Aka(("dataset_config", "dataset_config_name", "subset"))] = "mrpc"
    revision: str | None = None
    data_dir: str | None = None
    text: Annotated[tuple[str, ...], Field(min_length=1, max_length=2, strict=False)] = (
        "sentence1",
        "sentence2",
    )
    label: str = "label"
    # Omit the default, so that the ids of trials stay unchanged.
    kind: Annotated[TaskKind, Field(exclude_if=lambda kind: kind == "classification")] = "classification"
    train_split: str = "train"
    eval_split: str | Annotated[tuple[SplitName, ...], Field(min_length=1, max_length=16, strict=False)] = (
        "validation"
    )
    max_length: Annotated[
        Annotated[int, Field(ge=8, le=65_536)] | None,
        Aka(("max_len", "max_seq_len", "max_seq_length", "truncation_length")),
    ] = None
    # Omit the default, so that earlier plans and reports stay unchanged.
    max_classes: Annotated[int, Field(ge=2, le=1_000_000, exclude_if=lambda most: most == 1_000)] = 1_000
    limit: Annotated[Limit | None, Field(exclude_if=is_none)] = None

    @field_validator("eval_split")
    @classmethod
    def _each_split_once(cls, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(given, str):
            return given
        if len(set(given)) < len(given):
            raise ValueError("eval_split names a split more than once")
        return given if len(given) > 1 else given[0]

    def spelled(self) -> str | dict[str, Any]:
        """Return the value in suite syntax, with the keys whose defaults depend on the data set."""
        if self == Task():
            return self.name
        whole = {name: getattr(self, name) for name in ("dataset", "config", "text", "eval_split", "kind")}
        given = {name: [*value] if isinstance(value, tuple) else value for name, value in whole.items()}
        return given | self.model_dump(mode="json", exclude_defaults=True)

    @property
    def eval_splits(self) -> tuple[str, ...]:
        """The evaluation splits: of further ones the scores have names of their own."""
        return (self.eval_split,) if isinstance(self.eval_split, str) else self.eval_split

    @property
    def name(self) -> str:
        """The common name of the data set: `glue/mrpc`."""
        dataset = "glue" if self.dataset == "nyu-mll/glue" else self.dataset
        return dataset if self.config is None else f"{dataset}/{self.config}"

    def __str__(self) -> str:
        return self.name

    @property
    def collapsed(self) -> str:
        """The output of a degenerate model: `a single class`, or in a regression `a single number`."""
        return "a single class" if self.kind == "classification" else "a single number"


GLUE_DATASETS: Final = frozenset({"nyu-mll/glue", "glue"})


@dataclass(frozen=True, slots=True)
class GlueTask:
    """One task of GLUE.

    `labels` are the class names from class 0, `metrics` those that GLUE ranks the task by if it is
    not by the common ones, `examples` the published number of examples of each split with labels.
    """

    text: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    examples: Mapping[str, int]
    eval_split: str = "validation"
    kind: TaskKind = "classification"

    @property
    def defaults(self) -> dict[str, Any]:
        """The fields of `Task` that differ from one task of GLUE to another."""
        return {"text": self.text, "eval_split": self.eval_split, "kind": self.kind}


def _sizes(train: int, validation: int) -> dict[str, int]:
    return {"train": train, "validation": validation}


_ACCURACY: Final = ("eval_accuracy",)
# Accuracy and F1: the headlines of the table of metrics.
_COMMON: Final = ()
_CORRELATIONS: Final = ("eval_pearson", "eval_spearman")
_SENTENCES: Final = ("sentence1", "sentence2")
_ENTAILMENT: Final = ("entailment", "not_entailment")

GLUE: Final[dict[str, GlueTask]] = {
    "cola": GlueTask(("sentence",), ("unacceptable", "acceptable"), ("eval_mcc",), _sizes(8_551, 1_043)),
    "sst2": GlueTask(("sentence",), ("negative", "positive"), _ACCURACY, _sizes(67_349, 872)),
    "mrpc": GlueTask(
        _SENTENCES, ("not_equivalent", "equivalent"), _COMMON, {**_sizes(3_668, 408), "test": 1_725}
    ),
    "qqp": GlueTask(
        ("question1", "question2"), ("not_duplicate", "duplicate"), _COMMON, _sizes(363_846, 40_430)
    ),
    "stsb": GlueTask(_SENTENCES, (), _CORRELATIONS, _sizes(5_749, 1_500), kind="regression"),
    "mnli": GlueTask(
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        _ACCURACY,
        {"train": 392_702, "validation_matched": 9_815, "validation_mismatched": 9_832},
        eval_split="validation_matched",
    ),
    "qnli": GlueTask(("question", "sentence"), _ENTAILMENT, _ACCURACY, _sizes(104_743, 5_463)),
    "rte": GlueTask(_SENTENCES, _ENTAILMENT, _ACCURACY, _sizes(2_490, 277)),
    "wnli": GlueTask(_SENTENCES, ("not_entailment", "entailment"), _ACCURACY, _sizes(635, 71)),
}


# The short forms of a task, each with its mapping.
TASKS: Final[dict[str, dict[str, str]]] = {
    f"glue/{config}": {"dataset": "nyu-mll/glue", "config": config} for config in GLUE
}


def unknown_task(name: str) -> str:
    """Return the message about a word that is no short name of a task."""
    hint = "any other data set is a mapping {dataset, config, text, label, ...}"
    return f"unknown task {quoted(name)}{did_you_mean(name, list(TASKS))}; {hint}"


def completed(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a task with the defaults of its data set, as far as it does not set them."""
    dataset, config = task.get("dataset", Task().dataset), task.get("config", Task().config)
    known = GLUE.get(config) if isinstance(config, str) else None
    if isinstance(dataset, str) and dataset in GLUE_DATASETS and known is not None:
        return {**known.defaults, **task}
    if dataset != Task().dataset:
        # The default configuration is that of MRPC; other data sets have none unless the suite sets it.
        return {"config": None, **task}
    return dict(task)


def as_task(value: object) -> object:
    """Return the keys of a task that a suite names by a short name or a mapping; other values unchanged.

    Raises:
        ValueError: a short name that does not exist.
    """
    if isinstance(value, str):
        if value not in TASKS:
            raise ValueError(unknown_task(value))
        value = TASKS[value]
    if not isinstance(value, Mapping):
        return value
    # A list in the JSON of a suite is a tuple of its columns or splits.
    return completed({name: tuple(each) if isinstance(each, list) else each for name, each in value.items()})


def glue_task(task: Task) -> GlueTask | None:
    """Return the task of GLUE that this is, or None.

    >>> glue_task(Task(config="cola")).metrics
    ('eval_mcc',)
    """
    return GLUE.get(task.config or "") if task.dataset in GLUE_DATASETS else None


def is_mrpc(task: Task) -> bool:
    """Return whether the task is GLUE's MRPC, which has one more layout and an embedded corpus."""
    return task.dataset in GLUE_DATASETS and task.config == "mrpc"


def _own_headlines(task: Task) -> tuple[str, ...]:
    """Return the metrics of a task that are not the common ones."""
    if task.kind == "regression":
        return _CORRELATIONS
    known = glue_task(task)
    return () if known is None else known.metrics


def quality_headlines(tasks: Iterable[Task]) -> tuple[str, ...]:
    """Return the quality metrics that are shown first for these tasks.

    They are GLUE's, else accuracy and F1, or the correlations of a regression; of further splits the same.

    >>> quality_headlines([Task(config="cola")]), quality_headlines([Task(config="rte"), Task()])
    (('eval_mcc',), ('eval_accuracy', 'eval_f1'))
    """
    common = tuple(metric for metric in headlines("training") if METRICS[metric].family == "quality")
    shown = [(task, _own_headlines(task) or common) for task in tasks]
    every = {metric for _, metrics in shown for metric in metrics}
    further = {
        on_split(metric, split): None
        for task, metrics in shown
        for split in task.eval_splits[1:]
        for metric in metrics
    }
    return (*(metric for metric in METRICS if metric in every), *further) or common


def scores_of(task: Task) -> tuple[str, ...]:
    """Return every score of a task: those on its first evaluation split, then those of each further one.

    >>> scores_of(Task(config="stsb", kind="regression", eval_split=("validation", "test")))[2:4]
    ('eval_mse', 'eval_test_pearson')
    """
    scores = tuple(metric for metric in metrics_of("quality") if METRICS[metric].of == task.kind)
    return (*scores, *(on_split(score, split) for split in task.eval_splits[1:] for score in scores))


def further_scores(tasks: Iterable[Task]) -> tuple[str, ...]:
    """Return the scores of further evaluation splits of these tasks, each once."""
    return tuple(dict.fromkeys(name for task in tasks for name in scores_of(task) if name not in METRICS))


def training_headlines(tasks: Iterable[Task]) -> tuple[str, ...]:
    """Return the metrics compared by default where these tasks are trained: quality, then speed.

    >>> training_headlines([Task(config="cola")])
    ('eval_mcc', 'train_real_tokens_per_second')
    """
    speed = (metric for metric in headlines("training") if METRICS[metric].family != "quality")
    return (*quality_headlines(tasks), *speed)
