"""Sixty files and things that are none, which somebody may give as a suite."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

SMALL = "name: small\nmatrix: {checkpoint: [embedded/bert-uncased], padding: [dynamic], device: [cpu]}\n"
MATRIX = "matrix: {checkpoint: [embedded/bert-uncased], padding: [dynamic], device: [cpu]}\n"


def _seeds(count: int) -> str:
    return ", ".join(map(str, range(count)))


def _matrix(**axes: str) -> str:
    """A suite with more axes than the small one."""
    inside = ", ".join(f"{axis}: [{values}]" for axis, values in axes.items())
    return f"{SMALL.rstrip().removesuffix('}')}, {inside}}}\n"


TEXTS: dict[str, str | bytes] = {
    "nothing": "",
    "only comments": "# a\n# b\n",
    "null": "null\n",
    "a list": "- a\n- b\n",
    "a scalar": "42\n",
    "a sentence": "Please run everything.\n",
    "keys that are no text": "1: 2\ntrue: 3\n",
    "tabs": "name:\tx\n\tmatrix: {}\n",
    "bad indentation": "name: x\n  matrix: {}\n",
    "latin-1": "name: café\n".encode("latin-1"),
    "utf-16": SMALL.encode("utf-16"),
    "utf-32": SMALL.encode("utf-32"),
    "a byte order mark": b"\xef\xbb\xbf" + SMALL.encode(),
    "windows lines": SMALL.replace("\n", "\r\n"),
    "old lines": SMALL.replace("\n", "\r"),
    "nul": SMALL + "\0",
    "random bytes": bytes(range(256)) * 16,
    "an image": b"\x89PNG\r\n\x1a\n" + b"\0" * 1_000,
    "gzip": b"\x1f\x8b\x08\0" + b"\0" * 100,
    "two documents": SMALL + "---\n" + SMALL,
    "a duplicate key": SMALL + "name: y\n",
    "an unknown key": SMALL + "epoch: 3\n",
    "a python object": "name: !!python/object/apply:os.system ['touch ran']\n" + MATRIX,
    "a tag": "name: !secret x\n" + MATRIX,
    "a merge key": "base: &b {name: x}\n<<: *b\n" + MATRIX,
    "a recursive alias": "a: &a [*a]\n",
    "an alias bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "nested lists": "a: " + "[" * 5_000,
    "nested mappings": "".join(" " * depth + "a:\n" for depth in range(500)),
    "a megabyte": "a: " + "x" * 1_100_000,
    "brackets": "[" * 999_999,
    "dashes": "- " * 499_999,
    "line ends": "\n" * 999_999,
    "a key a line": "".join(f"a{number}: 1\n" for number in range(90_000)),
    "anchors": "- &a 1\n" * 142_000,
    "5,000 digits": SMALL + "max_trials: " + "9" * 5_000 + "\n",
    "a huge exponent": SMALL + "train: {learning_rate: 1e999999999}\n",
    "not a number": SMALL + "train: {learning_rate: .nan}\n",
    "half an epoch": SMALL + "train: {num_train_epochs: 1.5}\n",
    "a truth for a number": SMALL + "train: {num_train_epochs: true}\n",
    "a quoted number": SMALL + 'train: {num_train_epochs: "3"}\n',
    "octal": _matrix(seed="010"),
    "sexagesimal": _matrix(seed="12:30"),
    "a date": _matrix(seed="2026-01-01"),
    "an empty axis": _matrix(seed=""),
    "the same value twice": _matrix(seed="1, 1"),
    "4,800,000 trials": _matrix(
        **{"seed": _seeds(1_000), "train.weight_decay": ", ".join(f"{n}e-4" for n in range(4_800))}
    ),
    "a climbing name": "name: ../../etc/x\n" + MATRIX,
    "a long name": f"name: {'x' * 300}\n{MATRIX}",
    "a device file": "name: CON\n" + MATRIX,
    "an emoji": "name: \U0001f600\n" + MATRIX,
    "escapes": 'name: "\\e]0;x\\a\\e[31m"\n' + MATRIX,
    "right to left": "name: 'a\u202eb'\n" + MATRIX,
    "a workflow command": "name: '::error::x'\n" + MATRIX,
    "a checkpoint that climbs": SMALL.replace("embedded/bert-uncased", "../../../etc/passwd"),
}


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


THINGS: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a pipe": _pipe,
    "a socket": _socket,
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
}


def make(name: str, path: Path) -> None:
    """Put the file or thing of that name at `path`, in the current directory."""
    if name in THINGS:
        THINGS[name](path)
        return
    text = TEXTS[name]
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


NAMES = (*TEXTS, *THINGS)
ACCEPTED = {"a byte order mark", "windows lines", "old lines", "a checkpoint that climbs"}
