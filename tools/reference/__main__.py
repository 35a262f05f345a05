"""Write every derived file of docs/: `python -m tools.reference`."""

from __future__ import annotations

from tools.reference.pages import DOCS, FILES

for name, text in FILES.items():
    file = DOCS / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text(), encoding="utf-8")
