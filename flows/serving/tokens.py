"""Tokens of the API's clients: made here, shown once, and kept as hashes in .genai/serving/tokens.json.

A token has 256 random bits, so its plain sha256 tells nothing about it; slow hashes are for passwords that people
choose.
"""

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from flows.whole_file import write_json
from genai_core import GenaiError

TOKENS = Path(".genai/serving/tokens.json")
PREFIX = "genai_"  # so that scanners for leaked secrets, and people, recognise one


class TokenError(GenaiError):
    """The tokens cannot be read or changed; the message says why."""


@dataclass(frozen=True)
class TokenRecord:
    """What is kept of a token. A revoked one stays: it is the reason why the server still asks for tokens."""

    name: str
    sha256: str
    added: str
    revoked: str | None = None


def read_tokens(workspace: Path) -> list[TokenRecord]:
    """Return all records, oldest first; none if there is no file. Raises TokenError."""
    path = workspace / TOKENS
    try:
        return [TokenRecord(**values) for values in json.loads(path.read_text())["tokens"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TokenError(
            f"{path}: cannot be read: {error}; delete it, and add new tokens with `genai serve token add`"
        ) from None


def add_token(workspace: Path, name: str) -> str:
    """Make a token and return it. Raises TokenError if a valid one has this name."""
    with _changing(workspace):
        records = read_tokens(workspace)
        if any(record.name == name and record.revoked is None for record in records):
            raise TokenError(f"a token named {name} exists; choose another name, or revoke it first")
        token = PREFIX + secrets.token_urlsafe(32)
        _write(workspace, [*records, TokenRecord(name, hashed(token), _now())])
    return token


def revoke_token(workspace: Path, name: str) -> None:
    """Revoke the token of a name. A running server refuses it from now on. Raises TokenError if there is none."""
    with _changing(workspace):
        records = read_tokens(workspace)
        if not any(record.name == name and record.revoked is None for record in records):
            known = ", ".join(record.name for record in records if record.revoked is None) or "none"
            raise TokenError(f"no valid token is named {name}; there are: {known}")
        _write(
            workspace,
            [
                replace(record, revoked=_now()) if record.name == name and record.revoked is None else record
                for record in records
            ],
        )


def hashed(token: str) -> str:
    """Return the hash by which a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


class KnownTokens:
    """The tokens as a running server sees them: read again whenever the file has changed."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._stamp: tuple[int, int, int] | None = None
        self._by_hash: dict[str, TokenRecord] = {}
        self.refresh()

    @property
    def any_valid(self) -> bool:
        """Whether a token can be used."""
        return any(record.revoked is None for record in self._by_hash.values())

    @property
    def any_added(self) -> bool:
        """Whether a token was ever added."""
        return bool(self._by_hash)

    def refresh(self) -> None:
        """Read the file if it has changed. Raises TokenError."""
        try:
            stat = (self._workspace / TOKENS).stat()
        except FileNotFoundError:
            # A token that was valid a moment ago must not stay valid, nor the server open, because the file is gone.
            self._by_hash = {
                key: replace(record, revoked=record.revoked or _now()) for key, record in self._by_hash.items()
            }
            self._stamp = None
            return
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if stamp != self._stamp:
            self._by_hash = {record.sha256: record for record in read_tokens(self._workspace)}
            self._stamp = stamp

    def name_of(self, token: str) -> str | None:
        """Return the name of a valid token; None for an unknown or revoked one. Raises TokenError.

        Looking a hash up does not take longer for a token that is nearly right.
        """
        self.refresh()
        record = self._by_hash.get(hashed(token))
        return record.name if record is not None and record.revoked is None else None


def _write(workspace: Path, records: list[TokenRecord]) -> None:
    path = workspace / TOKENS
    write_json(path, {"tokens": [asdict(record) for record in records]})
    path.chmod(0o600)


def _changing(workspace: Path) -> FileLock:
    path = workspace / TOKENS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    return FileLock(path.with_suffix(".lock"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
