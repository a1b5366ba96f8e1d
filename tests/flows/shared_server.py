"""One Prefect server for all workers of a test session: python -m tests.flows.shared_server FOLDER PID.

FOLDER is its PREFECT_HOME; FOLDER/url has the address as soon as it answers.
"""

import sys
import time
from pathlib import Path

from tests.flows.lasting import Owner, start_lasting

_LOOK_S = 0.5


def start_shared_server(home: Path) -> str:
    """Start it for as long as the tests run; its address."""
    start_lasting("tests.flows.shared_server", home, "url")
    return (home / "url").read_text()


def main() -> None:
    home, owner = Path(sys.argv[1]), Owner(int(sys.argv[2]))
    from tests.flows.conftest import prefect_server

    with prefect_server(home) as url:
        (home / "url.new").write_text(url)
        (home / "url.new").rename(home / "url")
        while owner.lives():
            time.sleep(_LOOK_S)


if __name__ == "__main__":
    main()
