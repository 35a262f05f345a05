"""The options of a run, from the fields of `RunOptions`, and those of a run until its rows are decided."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Collection
from functools import wraps
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click

from harness.cli.parsing import Names
from harness.cli.shared_options import (
    PATH,
    Decorator,
    by_option,
    margin_option,
    margins_of_texts,
    metrics_option,
    option,
)
from harness.errors import InvalidInputError
from harness.model.looks import FEWEST_SEEDS, MOST_SEEDS
from harness.model.suite import LONGEST_S
from harness.running.options import Declared, RunOptions, UntilDecided, declared


def run_options(*names: str, without: Collection[str] = (), **fixed: Any) -> Decorator:
    """Declare options for the fields of `RunOptions` of these names; the command gets `options`.

    Args:
        names: the fields; all of them by default.
        without: fields that keep their default.
        fixed: values of fields that the command line does not set.
    """
    known = {each.name: each for each in declared()}
    chosen = [known[name] for name in names or known if name not in without]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def called(**given: Any) -> Any:
            options = RunOptions(**{each.name: given.pop(each.name) for each in chosen}, **fixed)
            return function(options=options, **given)

        for each in reversed(chosen):
            _field_option(each)(called)
        return called

    return decorate


def field_option(name: str) -> Decorator:
    """Declare the option of one field of `RunOptions` for a command that runs nothing."""
    return _field_option(next(each for each in declared() if each.name == name))


def how_to_go_on(options: RunOptions, *, complete: bool = False) -> str:
    """Return which command resumes an interrupted run: with some options the same one would begin another.

    So it would where nothing is left to run: the run is `complete`.

    >>> how_to_go_on(RunOptions())
    'run the same command again to go on where it stopped'
    >>> how_to_go_on(RunOptions(fresh=True))
    'run the same command without --fresh to go on where it stopped'
    """
    if complete:
        return "every trial has ended and the report is complete, but no gate was judged: use `harness check`"
    given = {"--fresh": options.fresh, "--rerun all": options.rerun == "all"}
    again = [option for option, is_given in given.items() if is_given]
    if not again:
        return "run the same command again to go on where it stopped"
    kept = "" if options.fresh else "; trials that have not run again keep their earlier results"
    return f"run the same command without {' and '.join(again)} to go on where it stopped{kept}"


def _field_option(each: Declared) -> Decorator:
    flag = "--" + each.name.removesuffix("_s").replace("_", "-")
    about, kind, words = each.option, each.type, list[object]()
    if get_origin(kind) in (Union, types.UnionType):
        kind, *words = (part for part in get_args(kind) if part is not type(None))
    settings: dict[str, Any] = {
        "help": about.help,
        "hidden": about.hidden,
        "metavar": about.metavar,
        "default": each.default,
        "show_default": not about.hidden and each.default is not None and each.default is not False,
        "group": about.group,
    }
    if kind is bool:
        return option(f"{flag}/--no-{flag[2:]}", each.name, **settings)
    if get_origin(kind) is tuple:
        return option(flag, each.name, multiple=True, **settings | {"show_default": False})
    found = _click_type(kind, each)
    if words:
        found = _NumberOrWord(found, get_args(words[0]))
    return option(flag, each.name, type=found, **settings)


class _NumberOrWord(click.ParamType[Any]):
    """A number of a range, or one of a few words."""

    def __init__(self, number: click.ParamType[Any] | type, words: Collection[str]) -> None:
        self._number, self._words = click.types.convert_type(number), words
        self.name = " or ".join((self._number.name, *words))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the word, or the number."""
        return value if value in self._words else self._number.convert(value, param, ctx)


def _click_type(kind: object, each: Declared) -> click.ParamType[Any] | type:
    about = each.option
    if get_origin(kind) is Literal:
        return Names(get_args(kind))
    if kind is Path:
        return PATH
    if kind is int:
        return click.IntRange(
            None if about.least is None else int(about.least), None if about.most is None else int(about.most)
        )
    if kind is float:
        open_below = about.above is not None
        return click.FloatRange(about.above if open_below else about.least, about.most, min_open=open_below)
    return str


def seconds(text: str, what: str) -> float:
    """Return the seconds of a duration such as `90s`, `10m` or `1.5h`; `what` names the option."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if found is None:
        raise InvalidInputError(
            f"{what} {text!r} is not a duration", hint="Write a number with its unit: 90s, 10m or 1h."
        )
    duration = float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
    if duration > LONGEST_S:
        raise InvalidInputError(f"{what} {text} is more than a year", hint="Give a shorter duration.")
    return duration


def until_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare the options of a run that adds seeds until its rows are decided; the command gets `until`."""
    default = UntilDecided()

    @wraps(function)
    def called(
        *,
        until_decided: bool,
        by: str | None,
        metrics: tuple[str, ...],
        margins: tuple[str, ...],
        most_seeds: int | None,
        budget: str | None,
        **given: Any,
    ) -> Any:
        needing = {
            "--by": by,
            "--metric": metrics,
            "--margin": margins,
            "--most-seeds": most_seeds,
            "--budget": budget,
        }
        if not until_decided:
            if unused := [name for name, value in needing.items() if value]:
                raise InvalidInputError(
                    f"{unused[0]} is for a run until its rows are decided", hint="Add --until-decided."
                )
            return function(until=None, **given)
        until = UntilDecided(
            by=by,
            metrics=metrics or None,
            margin=margins_of_texts(margins) if margins else None,
            most_seeds=most_seeds or default.most_seeds,
            budget_s=None if budget is None else seconds(budget, "--budget"),
        )
        return function(until=until, **given)

    declarations = (
        option(
            "--until-decided/--no-until-decided",
            help="Run seeds, three at first, until every metric of every value of an axis is better, worse "
            "or the same against the axis' first value. Verdicts are valid over all looks.",
            group="What to compare",
        ),
        by_option,
        metrics_option,
        margin_option,
        option(
            "--most-seeds",
            type=click.IntRange(FEWEST_SEEDS, MOST_SEEDS),
            metavar="N",
            help="With --until-decided, the seeds at the last look; another number begins a new run. "
            f"[default: {default.most_seeds}]",
            group="Limits",
        ),
        option(
            "--budget",
            metavar="TIME",
            help="With --until-decided, begin no further look after this time: 90s, 10m or 2h. The same "
            "command goes on.",
            group="Limits",
        ),
    )
    for declare in reversed(declarations):
        declare(called)
    return called
