"""Axis: a setting that a suite can vary, declared once in the `Annotated` metadata of a field of `Trial`.

This module derives the rest from the fields of the model: the values that a suite may contain,
their canonical form, labels, rules between axes, and the axes that a proof or a calibration must cover.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol, get_args, get_origin, runtime_checkable

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

Changes = Literal["function", "training", "tokenizing", "nothing"]
Shown = Literal["column", "setting", "varying"]

_UNSET: Final = object()


@dataclass(frozen=True, slots=True)
class Needs:
    """A rule between two axes: `value` can only be combined with these words of another axis.

    The word of a value is its short form: `static` of a padding with a length, `cuda` of `cuda:1`.

    Attributes:
        value: The word on the axis that declares the rule.
        axis: The name of the other axis.
        among: The words of the other axis that `value` can be combined with.
        why: The reason, for the error message.
        instead: What to write instead, as `axis: value`.
        others: Whether the rule applies to every other value instead of to `value`.
    """

    value: str
    axis: str
    among: tuple[str, ...]
    why: str
    instead: str
    others: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """The declaration of one axis.

    Attributes:
        meaning: One phrase for the JSON Schema and the reference page; `{name}` is the field.
        changes: The effect of the axis: `function` (the values of a forward or backward pass, covered by
            the proof of function), `training` (the optimizer's path, covered by the proof of training),
            `tokenizing` (only trials that tokenize) or `nothing` (speed alone).
        values: One phrase for each value that has a name.
        label: Returns the text of a value in tables and names; None for `name=value`.
        shown: `column` in every plan, `setting` in every summary, `varying` only where values differ or where
            the value is not the default.
        everywhere: Whether the axis also applies to trials that only tokenize.
        form: The type of a value in a suite, if it differs from the type of the field.
        short: The key of `form` that a bare word or number sets.
        fields: The fields of a trial that the keys of `form` fill, in order; empty for the field itself.
        default: The default in a suite, for an axis whose field has none.
        aka: Names of the axis in other tools, for suggestions.
        rules: Values that require a value of another axis.
        interchangeable: Whether values that are proved to compute the same function are meant to train the
            same model, so that one training can give the scores of several.
        name: Filled in from the field: `padding`, `train.learning_rate`.
    """

    meaning: str
    changes: Changes = "function"
    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    label: Callable[[str], str] | None = None
    shown: Shown = "varying"
    everywhere: bool = False
    form: Any = None
    short: str | None = None
    fields: tuple[str, ...] = ()
    default: Any = _UNSET
    aka: tuple[str, ...] = ()
    rules: tuple[Needs, ...] = ()
    interchangeable: bool = False
    name: str = ""

    @property
    def required(self) -> bool:
        """Whether every matrix has to name the axis."""
        return self.default is _UNSET


@dataclass(frozen=True, slots=True)
class Aka:
    """Names, in other tools, of a field that is not an axis, for suggestions."""

    names: tuple[str, ...]


@cache
def axes_of(model: type[BaseModel]) -> Mapping[str, Axis]:
    """Return the axes that the fields of a trial model declare, by name, in the order of the fields.

    A field whose model declares axes contributes them below its own name: `train.learning_rate`.
    """
    found: dict[str, Axis] = {}
    for name, info in model.model_fields.items():
        declared = next((each for each in info.metadata if isinstance(each, Axis)), None)
        if declared is not None:
            found[name] = _completed(declared, name, info)
        elif isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            inner = axes_of(info.annotation)
            found |= {f"{name}.{key}": replace(axis, name=f"{name}.{key}") for key, axis in inner.items()}
    return MappingProxyType(found)


def _completed(declared: Axis, name: str, info: FieldInfo) -> Axis:
    default = declared.default
    if default is _UNSET and not info.is_required():
        default = info.get_default()
    return replace(
        declared,
        name=name,
        meaning=declared.meaning.format(name=name),
        form=info.rebuild_annotation() if declared.form is None else declared.form,
        default=default,
    )


def synonyms_of(model: type[BaseModel]) -> dict[str, tuple[str, ...]]:
    """Return the names in other tools by field, for the fields of a model that have any."""
    found: dict[str, tuple[str, ...]] = {}
    for name, info in model.model_fields.items():
        for each in info.metadata:
            if isinstance(each, Axis) and each.aka:
                found[name] = each.aka
            elif isinstance(each, Aka):
                found[name] = each.names
    return found


@cache
def short_type(axis: Axis) -> TypeAdapter[Any]:
    """Return the type of a value written as one word or number."""
    if axis.short is None:
        return TypeAdapter(axis.form)
    return TypeAdapter(_model(axis).model_fields[axis.short].rebuild_annotation())


@cache
def mapping_type(axis: Axis) -> TypeAdapter[Any] | None:
    """Return the type of a value written as a mapping, or None for an axis without mappings."""
    return None if axis.short is None else TypeAdapter(axis.form)


def _model(axis: Axis) -> type[BaseModel]:
    """Return the model of a form, without its validators."""
    forms = (axis.form, *get_args(axis.form))
    model: type[BaseModel] = next(each for each in forms if isinstance(each, type))
    return model


def canonical(axis: Axis, value: object) -> Hashable:
    """Return the canonical form of a value: `static` and `{strategy: static}` are the same padding.

    A value in canonical form is returned unchanged.

    Raises:
        pydantic.ValidationError: The value does not belong on this axis.
    """
    mapping = mapping_type(axis)
    if mapping is None:
        found = short_type(axis).validate_python(value, strict=True)
    elif isinstance(value, dict | BaseModel):
        found = mapping.validate_python(value, strict=True)
    else:
        word = short_type(axis).validate_python(value, strict=True)
        found = mapping.validate_python({axis.short: word}, strict=True)
    assert isinstance(found, Hashable)
    return found


@runtime_checkable
class Spelled(Protocol):
    """A value with a spelling in suites that differs from its fields."""

    def spelled(self) -> Any:
        """Return the value in suite syntax."""


def written(value: object) -> Any:
    """Return a value in suite syntax: a bare word if only the first key of a mapping is set.

    A key at its default counts as not set.
    """
    if isinstance(value, Spelled):
        return value.spelled()
    if not isinstance(value, BaseModel):
        return value
    first = next(iter(type(value).model_fields))
    given = {first: getattr(value, first)} | value.model_dump(exclude_defaults=True)
    return next(iter(given.values())) if len(given) == 1 else given


def text(value: object) -> str:
    """Return a value as tables show it.

    >>> text(True), text(None), text(5e-05), text("static")
    ('true', 'none', '5e-05', 'static')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return "+".join(map(text, value))
    return "none" if value is None else str(value)


def label(axes: Mapping[str, Axis], name: str, value: str) -> str:
    """Return the label of a value, given as text: `name=value` unless the axis declares another one.

    `auto` always includes the name of the axis.
    """
    axis = axes.get(name)
    if axis is None or axis.label is None or value == "auto":
        return f"{name.rpartition('.')[2]}={value}"
    return axis.label(value)


def value_of(trial: BaseModel, axis: Axis) -> Any:
    """Return a trial's value on an axis, in canonical form."""
    if axis.fields:
        form = _model(axis)
        given = (getattr(trial, name) for name in axis.fields)
        return form(**dict(zip(form.model_fields, given, strict=True)))
    value: Any = trial
    for part in axis.name.split("."):
        value = getattr(value, part)
    return value


def trial_fields(condition: Mapping[str, Hashable], axes: Mapping[str, Axis]) -> dict[str, Any]:
    """Return the fields of a trial that canonical values set; `train.x` keeps its dotted name."""
    found: dict[str, Any] = {}
    for name, value in condition.items():
        if axes[name].fields and isinstance(value, BaseModel):
            found |= zip(axes[name].fields, (each for _, each in value), strict=True)
        else:
            found[name] = value
    return found


def used_axes(axes: Mapping[str, Axis], *, tokenizing: bool) -> dict[str, Axis]:
    """Return the axes that affect trials that only tokenize, or trials that train."""
    return {
        name: axis
        for name, axis in axes.items()
        if (axis.changes == "tokenizing" or axis.everywhere if tokenizing else axis.changes != "tokenizing")
    }


def plain(model: type[BaseModel], *changes: Changes) -> dict[str, Any]:
    """Return the default of each axis with one of these effects; those of `train` are nested."""
    found: dict[str, Any] = {}
    for name, axis in axes_of(model).items():
        if axis.changes in changes:
            section, _, key = name.rpartition(".")
            (found.setdefault(section, {}) if section else found)[key] = axis.default
    return found


def word(value: object) -> str:
    """Return the short form of a value, as used in rules between axes."""
    short = next(iter(value))[1] if isinstance(value, BaseModel) else value
    return text(short).partition(":")[0]


def breaks(rule: Needs, value: object, other: object) -> bool:
    """Return whether a value of the rule's axis cannot be combined with this value of the other axis."""
    return (word(value) == rule.value) != rule.others and word(other) not in rule.among


def names_of_values(axis: Axis) -> tuple[str, ...]:
    """Return the values of an axis with a fixed set of values, as text; empty for other axes."""
    form = _model(axis).model_fields[axis.short].annotation if axis.short is not None else axis.form
    return tuple(map(text, _options(form)))


def _options(form: Any) -> Iterator[object]:
    origin = get_origin(form)
    if form is bool:
        yield from (False, True)
    elif origin is Literal:
        yield from get_args(form)
    elif origin is not None and hasattr(form, "__metadata__"):
        yield from _options(get_args(form)[0])
