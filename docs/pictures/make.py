"""Makes the pictures from runs on both back ends: `python docs/pictures/make.py [NAME ...]`.

`docs/test_pictures.py` says when that is due. The tests' kqueue has to be built, on Linux.
"""

import sys
from pathlib import Path

from drawing import DRAWINGS
from runs import RUNS

HERE = Path(__file__).parent
BACKENDS = ("epoll", "kqueue")


def main(names: list[str]) -> int:
    """Makes those that are named, or all; returns the exit status."""
    for name in names or RUNS:
        traces = {backend: RUNS[name](backend) for backend in BACKENDS}
        (HERE / f"{name}.svg").write_text(DRAWINGS[name](traces), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
