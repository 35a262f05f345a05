"""Parse YAML to a tree of nodes with positions, within limits of depth, aliases and size.

The tree is built from ruamel.yaml's events, so that the limits apply while the text is read, before aliases
are expanded. Scalars follow only the core schema of YAML 1.2: no dates, no sexagesimal or octal numbers, no
`yes` and `no`, and no tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from harness.suite.nodes import BROKEN, Entry, Mapping, Node, Scalar, Sequence, described, resolve
from harness.suite.problems import Place, Problem, UnreadableError
from harness.words import quoted

MAX_DEPTH: Final = 32
MAX_NODES: Final = 20_000
MAX_ALIASES: Final = 100


def parse(text: str, source: str, problems: list[Problem], *, one_line: bool = False) -> Node | None:
    """Return the tree of a text, or None for an empty one; add recoverable problems to `problems`.

    Args:
        text: YAML, already decoded.
        source: Its name in messages.
        problems: Receives duplicate keys, tags and other problems after which parsing continues.
        one_line: Omit lines and columns, as for an override.

    Raises:
        UnreadableError: broken syntax, a second document, or a limit.
    """
    return _Tree(text, source, problems, one_line).read()


@dataclass
class _Tree:
    """Builder of one tree; `nodes` and `aliases` count towards the limits, `anchors` maps names to nodes."""

    text: str
    source: str
    problems: list[Problem]
    one_line: bool
    nodes: int = 0
    aliases: int = 0
    anchors: dict[str, Node | None] = field(default_factory=dict)
    last: Place | None = None

    def read(self) -> Node | None:
        root = None
        documents = 0
        events = self._events()
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._unreadable(event.start_mark, "a second document; a suite is one document")
            elif isinstance(event, (ScalarEvent, SequenceStartEvent, MappingStartEvent, AliasEvent)):
                root = self._node(event, events, 0)
        return None if isinstance(root, Scalar) and root.value is None and not root.quoted else root

    def _events(self) -> Iterator[Event]:
        """Yield the parser's events; convert its errors to problems with a position."""
        try:
            for event in YAML(typ="safe", pure=True).parse(self.text):
                self.last = self._place(event.start_mark)
                yield event
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._unreadable(mark, self._syntax(error, mark)) from None
        except (YAMLError, ValueError, OverflowError, LookupError, AssertionError, AttributeError, TypeError):
            # ruamel.yaml's scanner raises some bare errors, for example for escapes beyond Unicode.
            place = self.last or Place(self.source)
            raise UnreadableError(Problem(place, "not YAML from here on")) from None

    def _syntax(self, error: MarkedYAMLError, mark: StreamMark | None) -> str:
        what = (error.problem or error.context or "not YAML").strip().splitlines()[0]
        what = what if what.isprintable() else quoted(what, 200)
        if mark is None or self.one_line:
            return what
        line = (*self.text.split("\n"), "")[min(mark.line, self.text.count("\n"))]
        if "\t" in line[: len(line) - len(line.lstrip())]:
            what = "a tab at the beginning of the line; indent with spaces"
        return f"{what}, in the line {quoted(line.strip(), 100)}"

    def _node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        place = self._place(event.start_mark)
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        if not isinstance(event, (ScalarEvent, SequenceStartEvent, MappingStartEvent)):
            raise self._unreadable(event.start_mark, "not YAML from here on")
        self._count(1, event.start_mark)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if event.ctag is not None:
            self._refuse(place, f"the tag {quoted(str(event.ctag))}; a suite cannot contain tags")
        node: Node
        if isinstance(event, ScalarEvent):
            node = self._scalar(event, place)
        else:
            if depth >= MAX_DEPTH:
                raise self._unreadable(event.start_mark, f"nested deeper than {MAX_DEPTH} levels, the limit")
            is_list = isinstance(event, SequenceStartEvent)
            node = self._list(place, events, depth) if is_list else self._mapping(place, events, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _scalar(self, event: ScalarEvent, place: Place) -> Scalar:
        in_quotes = event.style is not None
        value, complaint = resolve(event.value, in_quotes=in_quotes)
        if complaint is not None:
            self._refuse(place, complaint)
        return Scalar(place, value, in_quotes)

    def _list(self, place: Place, events: Iterator[Event], depth: int) -> Sequence:
        items = []
        while not isinstance(event := next(events), SequenceEndEvent):
            items.append(self._node(event, events, depth + 1))
        return Sequence(place, tuple(items), *_extent(items))

    def _mapping(self, place: Place, events: Iterator[Event], depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            key = self._node(event, events, depth + 1)
            key_place = self._place(event.start_mark)
            value = self._node(next(events), events, depth + 1)
            if not isinstance(key, Scalar) or not isinstance(key.value, str):
                if not (isinstance(key, Scalar) and key.value is BROKEN):
                    self._refuse(key_place, f"a key is text, found {described(key)}")
            elif key.value == "<<" and not key.quoted:
                self._refuse(
                    key_place,
                    "the merge key <<; YAML 1.2 has none: write the keys out, or alias whole values",
                )
            elif key.value in entries:
                line = entries[key.value].place.line
                before = f"it is in line {line} already" if line else "each key is allowed once"
                self._refuse(key_place, f"the key {quoted(key.value)} again; {before}")
            else:
                entries[key.value] = Entry(key_place, value)
        return Mapping(place, entries, *_extent([entry.node for entry in entries.values()]))

    def _alias(self, event: AliasEvent, depth: int) -> Node:
        name = quoted(str(event.anchor))
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise self._unreadable(event.start_mark, f"more than {MAX_ALIASES} aliases, the limit")
        if event.anchor not in self.anchors:
            raise self._unreadable(event.start_mark, f"the alias {name} has no anchor above it")
        node = self.anchors[event.anchor]
        if node is None:
            raise self._unreadable(event.start_mark, f"the alias {name} contains itself")
        self._count(node.size, event.start_mark)
        if depth + node.height > MAX_DEPTH:
            raise self._unreadable(event.start_mark, f"nested deeper than {MAX_DEPTH} levels, the limit")
        return node

    def _count(self, nodes: int, mark: StreamMark) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            limit = f"more than {MAX_NODES:,} values with all aliases expanded, the limit for a suite"
            raise self._unreadable(mark, limit)

    def _refuse(self, place: Place, what: str) -> None:
        self.problems.append(Problem(place, what))

    def _unreadable(self, mark: StreamMark | None, what: str) -> UnreadableError:
        place = Place(self.source) if mark is None else self._place(mark)
        return UnreadableError(Problem(place, what))

    def _place(self, mark: StreamMark) -> Place:
        return Place(self.source) if self.one_line else Place(self.source, mark.line + 1, mark.column + 1)


def _extent(children: list[Node]) -> tuple[int, int]:
    """Return the size and height of a node with these children."""
    return 1 + sum(child.size for child in children), 1 + max((child.height for child in children), default=0)
