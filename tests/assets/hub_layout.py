"""The Hub's cache as its library lays it out, and a small Hub on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER_COMMIT = "f" * 40
# A safetensors file without tensors: the length of its header, and the header.
WEIGHTS = (2).to_bytes(8, "little") + b"{}"
CHECKPOINT = {
    "config.json": b'{"model_type": "bert"}',
    "vocab.txt": b"[PAD]\n",
    "tokenizer_config.json": b"{}",
    "model.safetensors": WEIGHTS,
}


def cache_repo(
    cache: Path, repo: str, files: Mapping[str, bytes], *, commit: str = COMMIT, ref: str | None = "main"
) -> Path:
    """Lay out one commit of `repo` (`models--owner--name`) and return its snapshot folder."""
    snapshot = cache / repo / "snapshots" / commit
    for name, content in files.items():
        blob = cache / repo / "blobs" / sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    if ref is not None:
        (cache / repo / "refs").mkdir(parents=True, exist_ok=True)
        (cache / repo / "refs" / ref).write_text(commit)
    return snapshot


@dataclass
class FakeHub:
    """`repos` maps `models/owner/name` to its files, or to the status and error code it answers with."""

    repos: dict[str, dict[str, bytes] | tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    endpoint: str = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        path = path.partition("?")[0].strip("/")
        self.asked.append(path)
        kind, name = _repo_of(path, self.repos)
        found = self.repos.get(f"{kind}/{name}")
        if found is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if isinstance(found, tuple):
            return found[0], {"X-Error-Code": found[1]}, b"{}"
        if path.startswith("api/"):
            listing = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in found]}
            return 200, {"Content-Type": "application/json"}, json.dumps(listing).encode()
        content = found[path.partition(f"/resolve/{COMMIT}/")[2]]
        etag = f'"{sha256(content).hexdigest()}"'
        return 200, {"ETag": etag, "X-Repo-Commit": COMMIT}, content


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Answer at `hub.endpoint` for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _repo_of(path: str, repos: Mapping[str, object]) -> tuple[str, str]:
    kind = "datasets" if path.startswith(("api/datasets/", "datasets/")) else "models"
    bare = path.removeprefix("api/").removeprefix(f"{kind}/")
    known = [repo.partition("/")[2] for repo in repos if repo.startswith(f"{kind}/")]
    return kind, next((name for name in known if bare == name or bare.startswith(f"{name}/")), bare)
