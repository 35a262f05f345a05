"""Many numbers in one array, with a third to a tenth of the memory of tuples of floats.

By `__array_interface__` numpy reads the same memory, without an import of numpy here.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, Self, overload

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

Row = tuple[float, ...]

_DOUBLE: Final = "<f8" if sys.byteorder == "little" else ">f8"


def _interface(values: array[float], *shape: int) -> dict[str, Any]:
    """Return an array as numpy reads it, without permission to write."""
    return {"version": 3, "typestr": _DOUBLE, "shape": shape, "data": (values.buffer_info()[0], True)}


class Numbers(Sequence[float]):
    """Numbers, compared and serialized like a tuple of floats.

    >>> numbers = Numbers([0.5, 2])
    >>> numbers, numbers[1], numbers == (0.5, 2.0)
    ((0.5, 2.0), 2.0, True)
    """

    __slots__ = ("_median", "_values")

    def __init__(self, values: Iterable[float]) -> None:
        """Copy the numbers."""
        self._values = array("d", values)
        self._median: float | None = None

    @property
    def median(self) -> float | None:
        """The median, which is computed once; None where there are no numbers."""
        if len(self._values) < 2:
            return self._values[0] if self._values else None
        if self._median is None:
            ordered = sorted(self._values)
            middle = len(ordered) // 2
            even = len(ordered) % 2 == 0
            self._median = (ordered[middle - 1] + ordered[middle]) / 2 if even else ordered[middle]
        return self._median

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return _interface(self._values, len(self))

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Row: ...
    def __getitem__(self, index: int | slice) -> float | Row:
        return tuple(self._values[index]) if isinstance(index, slice) else self._values[index]

    def __iter__(self) -> Iterator[float]:
        return iter(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _array_schema(cls, handler.generate_schema(Row))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(core_schema.tuple_variable_schema(core_schema.float_schema()))


def _array_schema(cls: Any, tuples: CoreSchema) -> CoreSchema:
    """Return the schema of a class that copies validated tuples and is written as tuples."""
    copied = core_schema.no_info_after_validator_function(cls, tuples)
    return core_schema.json_or_python_schema(
        json_schema=copied,
        python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), copied]),
        serialization=core_schema.plain_serializer_function_ser_schema(tuple, return_schema=tuples),
    )


class Logits(Sequence[Row]):
    """Rows of one number a class, N of them; compared and serialized like a tuple of tuples of floats.

    A report of 10,000 trials with 408 examples each has 8 million logits: 65 MB here, 0.5 GB as tuples.

    >>> logits = Logits([(0.5, -0.5), (0.1, 0.2)])
    >>> len(logits), logits[1], logits == ((0.5, -0.5), (0.1, 0.2))
    (2, (0.1, 0.2), True)
    """

    __slots__ = ("_classes", "_values")

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        """Copy the rows.

        Raises:
            ValueError: A row has another number of values than the first.
        """
        self._classes = len(rows[0]) if rows else 0
        # At the speed of C: a large report has millions of rows.
        if set(map(len, rows)) - {self._classes}:
            at = next(at for at, row in enumerate(rows) if len(row) != self._classes)
            raise ValueError(
                f"row {at} of logits has {len(rows[at])} numbers, the first one has {self._classes}"
            )
        self._values = array("d", chain.from_iterable(rows))

    @classmethod
    def of_numbers(cls, numbers: Iterable[float], classes: int) -> Self:
        """Return rows of so many classes from their numbers, laid end to end."""
        found = cls(())
        found._classes, found._values = classes, array("d", numbers)
        return found

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return _interface(self._values, len(self), self._classes)

    def __len__(self) -> int:
        return len(self._values) // self._classes if self._classes else 0

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        if isinstance(index, slice):
            return tuple(self[at] for at in range(*index.indices(len(self))))
        at = range(len(self))[index] * self._classes
        return tuple(self._values[at : at + self._classes])

    def __iter__(self) -> Iterator[Row]:
        values = iter(self._values)
        return zip(*[values] * self._classes, strict=True) if self._classes else iter(())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Logits):
            return self._classes == other._classes and self._values == other._values
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash((self._classes, self._values.tobytes()))

    def __repr__(self) -> str:
        return f"<{len(self)} rows of {self._classes} logits>"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _array_schema(cls, handler.generate_schema(tuple[Row, ...]))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(
            core_schema.tuple_variable_schema(core_schema.tuple_variable_schema(core_schema.float_schema()))
        )
