"""File systems for tests: one that fails at a step, one that loses power and forgets what was not synced."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from harness.store.writing import OS_FILES, Files

P = ParamSpec("P")
R = TypeVar("R")

# Where a test loses power only in play, waiting for the real disk proves nothing.
QUICK = Files(fsync=lambda _: None)


class PowerLossError(BaseException):
    """The machine stopped here: nothing catches it, and no later step happens."""


def watched(before: Callable[[str], None], inner: Files = OS_FILES) -> Files:
    """The calls of `inner`, each after `before` was told its name."""

    def watch(name: str, call: Callable[P, R]) -> Callable[P, R]:
        def watching(*args: P.args, **kwargs: P.kwargs) -> R:
            before(name)
            return call(*args, **kwargs)

        return watching

    return Files(
        open=watch("open", inner.open),
        write=watch("write", inner.write),
        fsync=watch("fsync", inner.fsync),
        close=watch("close", inner.close),
        rename=watch("rename", inner.rename),
        unlink=watch("unlink", inner.unlink),
        mkdir=watch("mkdir", inner.mkdir),
    )


def failing_at(step: int, code: int, *, for_good: bool = False, inner: Files = QUICK) -> Files:
    """Files whose call number `step` fails with `code`; `for_good` also all later ones that need space."""
    count = -1

    def before(name: str) -> None:
        nonlocal count
        count += 1
        lasting = for_good and count > step and name in ("open", "write", "fsync", "mkdir")
        if count == step or lasting:
            raise OSError(code, os.strerror(code))

    def close(descriptor: int) -> None:
        inner.close(descriptor)  # Linux frees the number even where close reports an error
        before("close")

    return replace(watched(before, inner), close=close)


def count_steps(work: Callable[[Files], object], inner: Files = QUICK) -> int:
    """How many calls `work` makes."""
    names: list[str] = []
    work(watched(names.append, inner))
    return len(names)


@dataclass
class Node:
    """A file or a folder, as it is now and as it was when last synced."""

    content: bytes = b""
    synced: bytes = b""
    children: dict[str, Node] = field(default_factory=dict)
    synced_children: dict[str, Node] = field(default_factory=dict)
    is_folder: bool = False


class Disk:
    """Works on the real folder `root` and remembers what of it would outlive a power loss.

    It stops at call number `crash_at`; a write stops in its middle.
    """

    def __init__(self, root: Path, crash_at: int | None = None) -> None:
        self.root = root
        self.crash_at = crash_at
        self.count = -1
        self.top = Node(is_folder=True)
        self.open_nodes: dict[int, Node] = {}

    @property
    def files(self) -> Files:
        """The calls for the store."""
        return Files(
            open=self._open,
            write=self._write,
            fsync=self._fsync,
            close=self._close,
            rename=self._rename,
            unlink=self._unlink,
            mkdir=self._mkdir,
        )

    def rebuild(self, target: Path, persists: Callable[[], bool]) -> None:
        """Write to `target` what the next start finds; `persists` is asked for each unsynced thing."""
        _rebuild(self.top, target, persists)

    def release(self) -> None:
        """Close what the crash left open in this process."""
        for descriptor in self.open_nodes:
            os.close(descriptor)

    def _step(self) -> bool:
        """Count one call; true where it is the one that the power fails in."""
        self.count += 1
        if self.crash_at is not None and self.count > self.crash_at:
            raise PowerLossError
        return self.count == self.crash_at

    def _crash_or_go(self) -> None:
        if self._step():
            raise PowerLossError

    def _node(self, path: Path) -> Node:
        node = self.top
        for part in path.relative_to(self.root).parts:
            node = node.children[part]
        return node

    def _open(self, path: Path, flags: int) -> int:
        self._crash_or_go()
        descriptor = OS_FILES.open(path, flags)
        if flags & os.O_CREAT:
            self._node(path.parent).children.setdefault(path.name, Node())
        self.open_nodes[descriptor] = self._node(path)
        return descriptor

    def _write(self, descriptor: int, data: bytes) -> int:
        torn = self._step()
        part = data[: len(data) // 2] if torn else data
        written = os.write(descriptor, part)
        self.open_nodes[descriptor].content += part[:written]
        if torn:
            raise PowerLossError
        return written

    def _fsync(self, descriptor: int) -> None:
        self._crash_or_go()
        node = self.open_nodes[descriptor]
        node.synced = node.content
        node.synced_children = dict(node.children)

    def _close(self, descriptor: int) -> None:
        self._crash_or_go()
        del self.open_nodes[descriptor]
        os.close(descriptor)

    def _rename(self, source: Path, target: Path) -> None:
        self._crash_or_go()
        OS_FILES.rename(source, target)
        self._node(target.parent).children[target.name] = self._node(source.parent).children.pop(source.name)

    def _unlink(self, path: Path) -> None:
        self._crash_or_go()
        OS_FILES.unlink(path)
        del self._node(path.parent).children[path.name]

    def _mkdir(self, path: Path) -> None:
        self._crash_or_go()
        OS_FILES.mkdir(path)
        self._node(path.parent).children[path.name] = Node(is_folder=True)


def _rebuild(node: Node, target: Path, persists: Callable[[], bool]) -> None:
    if not node.is_folder:
        target.write_bytes(node.content if node.content == node.synced or persists() else node.synced)
        return
    target.mkdir()
    for name in sorted(node.children.keys() | node.synced_children.keys()):
        now, synced = node.children.get(name), node.synced_children.get(name)
        survivor = now if now is synced or persists() else synced
        if survivor is not None:
            _rebuild(survivor, target / name, persists)
