"""Secrets are removed from addresses, wherever in the address they are."""

import pytest

from flows.redact import hosts_only, redacted, without_secrets


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:pw@h:8/a.zip?X-Amz-Signature=1#x", "https://h:8/a.zip"),
        ("https://token@h/r.git", "https://h/r.git"),
        ("https://me:p@w@h/r", "https://h/r"),
        ("https://me:p/w?@h/r", "https://h/r"),  # nobody escaped it
        ("http://[::1]:4200/api", "http://[::1]:4200/api"),
        ("http://me:pw@[::1]:4200/api", "http://[::1]:4200/api"),
        ("https://h/@scope/package", "https://h/@scope/package"),
        ("https://h:443/a@1.0", "https://h:443/a@1.0"),
        ("https://h?sig=1", "https://h"),
        ("postgresql+asyncpg://prefect:pw@db/prefect", "postgresql+asyncpg://prefect@db/prefect"),
        ("ssh://git@h/r", "ssh://git@h/r"),
        ("ssh://git:pw@h/r", "ssh://git@h/r"),
        ("abfs://container@account.dfs.core.windows.net/p", "abfs://container@account.dfs.core.windows.net/p"),
        ("s3://bucket/path", "s3://bucket/path"),
        ("dvc://https://token@h/r#data/x@v1", "dvc://https://h/r#data/x@v1"),
        ("file:///a?b#c", "file:///a?b#c"),
        ("/srv/me@work/r", "/srv/me@work/r"),
        ("git@h:r", "git@h:r"),
    ],
)
def test_an_address(address: str, shown: str) -> None:
    assert without_secrets(address) == shown
    assert without_secrets(shown) == shown


def test_addresses_in_a_text() -> None:
    said = "fatal: unable to access 'https://u:tok@h/r.git/': <http://a@b?c> (s3://b/p?x), http://h:80: no more."
    assert redacted(said) == "fatal: unable to access 'https://h/r.git/': <http://b> (s3://b/p), http://h:80: no more."
    assert hosts_only("hooks: https://u:p@h:1/services/KEY failed") == "hooks: https://h:1 failed"


@pytest.mark.parametrize("password", ["it's", 'a"b', "a<b", "a'b'c`d"])
def test_password_with_a_quote(password: str) -> None:
    said = f"fatal: unable to access 'https://me:{password}@h/r.git/': no"
    assert redacted(said) == "fatal: unable to access 'https://h/r.git/': no"
    assert redacted("['https://h/a', 'https://u:p@h2/b','https://u:p@h3/c']") == (
        "['https://h/a', 'https://h2/b','https://h3/c']"
    )
