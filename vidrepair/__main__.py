"""The command line: `vidrepair`, or `python -m vidrepair`."""

from __future__ import annotations

import sys


def start() -> None:
    """Run it. Ctrl-C ends it in one sentence while its modules are read, too, but for those of the
    package itself, before this.
    """
    try:
        from vidrepair.cli import main
    except KeyboardInterrupt:
        sys.stderr.write("vidrepair: interrupted; nothing was written under the final name\n")
        sys.exit(130)
    main()


if __name__ == "__main__":
    start()
