"""The words of the embedded corpus: invented names, and the ways in which one thing can be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Topic:
    """A kind of event. `ways` and `opposite` say it and its opposite, each in several ways.

    A way names the facts it uses in braces: `company`, `rival`, `team`, `guest`, `place`, `number`, `amount`.
    """

    ways: tuple[str, ...]
    opposite: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COMPANIES: Final = _words(
    "Norvane Altrex Belcore Cadwell Dorante Elvaro Fenmark Gartane Halvex Intrado Jorvik Kelmont "
    "Lanford Merrow Nextera Orvane Pellmar Quandel Ravenor Solmark Tarvell Umbrex Vexford Wendale "
    "Xandor Yarrow Zentrex Ardmore Brentix Corvane"
)
TEAMS: Final = _words(
    "Falcons Rovers Comets Harriers Mariners Pilots Lynxes Ravens Stallions Wolves Herons Bisons"
)
PLACES: Final = _words(
    "Ashford Bremen Calder Dunmore Elgin Fairview Grafton Hamden Irving Kenton Lisbon Milford Newark "
    "Oakdale Preston Quincy Ramsey Salem Trenton Upton Vernon Warsaw Yonkers Zurich"
)
SURNAMES: Final = _words(
    "Abbott Barlow Carver Dalton Ellis Foster Garner Hobbs Irwin Jarvis Keller Lowry Mercer Nolan "
    "Osborne Parks Quigley Reyes Sutton Tanner Upshaw Vance Walsh Yates"
)
FIRST_NAMES: Final = _words("Alan Beth Carl Diane Eric Fiona Grant Helen Ivan Julia Keith Laura Mark Nora")
DAYS: Final = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS: Final = _words(
    "January February March April May June July August September October November December"
)
ROLES: Final = (
    ("spokesman", "spokesperson"),
    ("chief executive", "top executive"),
    ("analyst", "market analyst"),
    ("lawyer", "attorney"),
    ("director", "senior director"),
    ("official", "senior official"),
)

TOPICS: Final = (
    Topic(
        (
            "shares of {company} rose {number} percent in {place}",
            "{company} stock climbed {number} percent in {place} trading",
            "{company} shares gained {number} percent on the {place} exchange",
        ),
        (
            "shares of {company} fell {number} percent in {place}",
            "{company} stock dropped {number} percent in {place} trading",
            "{company} shares lost {number} percent on the {place} exchange",
        ),
    ),
    Topic(
        (
            "{company} reported a quarterly profit of ${amount} million",
            "{company} posted a profit of ${amount} million for the quarter",
            "quarterly earnings at {company} came to ${amount} million",
        ),
        (
            "{company} reported a quarterly loss of ${amount} million",
            "{company} posted a loss of ${amount} million for the quarter",
            "the quarterly deficit at {company} came to ${amount} million",
        ),
    ),
    Topic(
        (
            "{company} agreed to buy the {place} unit of {rival} for ${amount} billion",
            "{company} will acquire the {place} business of {rival} for ${amount} billion",
            "{company} is to purchase the {place} arm of {rival} in a ${amount} billion deal",
        ),
        (
            "{company} agreed to sell its {place} unit to {rival} for ${amount} billion",
            "{company} will hand its {place} business to {rival} for ${amount} billion",
            "{company} is to shed its {place} arm to {rival} in a ${amount} billion deal",
        ),
    ),
    Topic(
        (
            "{company} will cut {number} jobs at its factory in {place}",
            "{company} plans to eliminate {number} positions at the {place} plant",
            "{number} workers at the {place} plant of {company} will lose their jobs",
        ),
        (
            "{company} will add {number} jobs at its factory in {place}",
            "{company} plans to create {number} positions at the {place} plant",
            "{number} workers will be hired at the {place} plant of {company}",
        ),
    ),
    Topic(
        (
            "a judge in {place} approved the ${amount} million settlement with {company}",
            "the {place} court backed a ${amount} million settlement that {company} had offered",
            "the ${amount} million settlement of {company} was upheld by a court in {place}",
        ),
        (
            "a judge in {place} rejected the ${amount} million settlement with {company}",
            "the {place} court threw out a ${amount} million settlement that {company} had offered",
            "the ${amount} million settlement of {company} was dismissed by a court in {place}",
        ),
    ),
    Topic(
        (
            "{number} people were killed when a bus crashed near {place}",
            "a bus crash close to {place} left {number} people dead",
            "{number} passengers died in a bus accident outside {place}",
        ),
        (
            "{number} people were hurt when a bus crashed near {place}",
            "a bus crash close to {place} left {number} people injured",
            "{number} passengers were wounded in a bus accident outside {place}",
        ),
    ),
    Topic(
        (
            "lawmakers in {place} passed a bill to spend ${amount} billion on schools",
            "the {place} assembly approved ${amount} billion of new money for schools",
            "a ${amount} billion school bill cleared the assembly in {place}",
        ),
        (
            "lawmakers in {place} blocked a bill to spend ${amount} billion on schools",
            "the {place} assembly refused ${amount} billion of new money for schools",
            "a ${amount} billion school bill failed in the assembly in {place}",
        ),
    ),
    Topic(
        (
            "the {team} beat the {guest} by {number} points in {place}",
            "the {team} defeated the {guest} in {place} with a margin of {number} points",
            "in {place} the {team} won by {number} points against the {guest}",
        ),
        (
            "the {team} lost to the {guest} by {number} points in {place}",
            "the {team} were beaten by the {guest} in {place} with a margin of {number} points",
            "in {place} the {team} went down by {number} points against the {guest}",
        ),
    ),
    Topic(
        (
            "a new drug from {company} lowers the risk of stroke by {number} percent",
            "the {company} drug reduced the danger of a stroke by {number} percent",
            "patients on the {company} drug had a stroke risk {number} percent lower",
        ),
        (
            "a new drug from {company} increases the risk of stroke by {number} percent",
            "the {company} drug raised the danger of a stroke by {number} percent",
            "patients on the {company} drug had a stroke risk {number} percent higher",
        ),
    ),
    Topic(
        (
            "police in {place} arrested {number} men over a theft at {company}",
            "{number} men were detained in {place} after a robbery at {company}",
            "{place} officers took {number} suspects into custody over the {company} theft",
        ),
        (
            "police in {place} released {number} men held over a theft at {company}",
            "{number} men were freed in {place} after a robbery at {company}",
            "{place} officers let {number} suspects go over the {company} theft",
        ),
    ),
    Topic(
        (
            "{company} released a patch for {number} flaws in its server software",
            "{company} issued a fix that closes {number} holes in its server programs",
            "a patch for {number} server flaws was published by {company}",
        ),
        (
            "{company} withdrew a patch for {number} flaws in its server software",
            "{company} pulled a fix that closes {number} holes in its server programs",
            "a patch for {number} server flaws was recalled by {company}",
        ),
    ),
    Topic(
        (
            "the storm forced {number} families to leave their homes in {place}",
            "{number} households in {place} were moved out because of the storm",
            "{place} evacuated {number} families as the storm came near",
        ),
        (
            "the storm allowed {number} families to return to their homes in {place}",
            "{number} households in {place} were let back after the storm",
            "{place} welcomed {number} families home as the storm went by",
        ),
    ),
)

# Clauses that add a fact: each entry says the same in several ways. `{year}`, `{month}`, `{second}` and
# `{other}` are facts of the event too.
DETAILS: Final = (
    ("compared with {second} a year earlier", "against {second} in the same period last year"),
    ("the largest figure since {month} {year}", "a level not seen since {month} {year}"),
    ("after {second} days of talks in {other}", "following {second} days of negotiations in {other}"),
    ("and a decision is due in {month}", "with a ruling expected in {month}"),
    ("despite warnings from officials in {other}", "even though authorities in {other} had warned of it"),
    ("as {second} other cases wait in {other}", "while {second} more cases are pending in {other}"),
    ("the first such step since {year}", "the first move of its kind since {year}"),
)
FILLERS: Final = (
    ("in a move that surprised many people", "to the surprise of many observers"),
    ("according to a statement", "a statement said"),
    ("although few details were given", "but gave few details"),
    ("which had been expected for weeks", "as had been expected for several weeks"),
    ("and more news is likely soon", "with more news to come shortly"),
    ("in what critics called a mistake", "a step that critics called wrong"),
)
