"""The command line: `vidrepair`, or `python -m vidrepair`."""

from __future__ import annotations

import sys


def start() -> None:
    """Run it. Ctrl-C ends it in one sentence even while its modules are being read."""
    try:
        from vidrepair.cli import main
    except KeyboardInterrupt:
        sys.stderr.write("vidrepair: interrupted; nothing was written\n")
        sys.exit(130)
    main()


if __name__ == "__main__":
    start()
