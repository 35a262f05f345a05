"""The `harness` command, and `python -m harness`."""

import os
import sys


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    from harness.importing import interruptible  # noqa: PLC0415 - after the import path is mended

    try:
        with interruptible():
            from harness.cli import main as run  # noqa: PLC0415 - this takes long enough to be interrupted
        run()
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(130)


def _trust_the_import_path() -> None:
    """Take the current directory off the import path, on which a numpy.py in it would shadow numpy."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - no import yet
    # Keep it if it contains this package, as in a checkout that is not installed.
    if not sys.flags.safe_path and sys.path and os.path.abspath(sys.path[0]) != folder:  # noqa: PTH100 - as above
        del sys.path[0]


if __name__ == "__main__":
    _trust_the_import_path()
    main()
