"""Run the `harness` command as `python -m harness`."""

import os
import sys

# Python puts the current directory first on the import path: a numpy.py there must not shadow numpy.
# Keep the entry if it contains this package, as in a checkout that is not installed.
_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - before any import
if not sys.flags.safe_path and sys.path and os.path.abspath(sys.path[0]) != _FOLDER:  # noqa: PTH100 - as above
    del sys.path[0]

from harness.cli import main  # noqa: E402 - as above

main()
