"""The answer to a retraining that waits for approval."""

from pathlib import Path

import pytest

from flows.retraining import RetrainError
from flows.retraining.approval import answer


def test_an_answer_without_a_waiting_retraining(tmp_path: Path) -> None:
    with pytest.raises(RetrainError, match="no retraining of this checkout waits"):
        answer(tmp_path, None, promote=True, note="")
