"""`safeconduct` and `python -m safeconduct`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    from safeconduct.cli.application import run  # noqa: PLC0415 - so that importing this module costs nothing

    sys.exit(run())


if __name__ == "__main__":
    main()
