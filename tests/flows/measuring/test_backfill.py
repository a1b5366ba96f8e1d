"""`genai backfill` that a user's error stops: one line, and no table of an earlier one."""

import json
from pathlib import Path

from flows.measuring.backfill_table import Row, write_table
from tests.flows.conftest import DVC_WARNS, Server, genai

pytestmark = DVC_WARNS


def test_a_users_error_is_one_line_and_shows_no_old_table(done: Path, server: Server) -> None:
    row = Row("a" * 32, "c" * 40, "2026-01-02T00:00:00Z", 1000, 200, "v0.0.1", "b" * 32, "fd_classifier", 2.5, 2.1, 2.9)
    write_table(done / "backfill", [row])
    answer = genai(done, "backfill", "--revisions", "HEAD..HEAD", "--json", api_url=server.url)
    assert answer.returncode == 2, answer.stderr
    assert "nothing is in production yet" in answer.stderr.splitlines()[-1]
    assert "Written:" not in answer.stderr
    assert json.loads(answer.stdout).keys() == {"error"}
