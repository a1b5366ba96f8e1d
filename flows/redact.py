"""Remove secrets from addresses before they are shown or stored: passwords, tokens, signatures."""

import re

DVC_PREFIX = "dvc://"  # dvc://REPOSITORY#PATH[@REVISION]
# Quotes end an address, but may be in an unescaped password: whatever leads to an @ without a space is the login.
# Punctuation at the end is not part of the address.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^\s/]*@)?[^\s\"'<>`]*[^\s\"'<>`.,:;!)]")
# In these schemes, the user may be a token. In others, it is an account (ssh) or a container (abfs).
_TOKENS_AS_USERS = ("http", "https", "webdav", "webdavs")


def without_secrets(address: str) -> str:
    """An address without password, query and fragment; a query may contain a signature.

    For http and webdav, also without the user, which may be a token. A local path is unchanged.
    """
    scheme, separator, rest = address.partition("://")
    if not separator or scheme == "file":
        return address
    if scheme == "dvc":
        repository, hash_sign, path = rest.partition("#")
        return f"{DVC_PREFIX}{without_secrets(repository)}{hash_sign}{path}"
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in rest and "@" not in authority and not _is_host(authority):
        authority = rest.rpartition("@")[0] + "@" + re.split(r"[/?#]", rest.rpartition("@")[2], maxsplit=1)[0]
    login, at, host = authority.rpartition("@")
    user = "" if scheme.lower() in _TOKENS_AS_USERS else login.partition(":")[0]
    path = re.split(r"[?#]", rest[len(authority) :], maxsplit=1)[0]
    return f"{scheme}://{user}{at if user else ''}{host}{path}"


def redacted(text: str) -> str:
    """A text, such as another program's error, without the secrets of the addresses in it."""
    return _ADDRESS.sub(lambda match: without_secrets(match[0]), text)


def hosts_only(text: str) -> str:
    """A text with each address cut to scheme and host, because the path of a webhook is its key."""
    return _ADDRESS.sub(lambda match: "/".join(without_secrets(match[0]).split("/")[:3]), text)


def _is_host(text: str) -> bool:
    """Whether it is HOST, HOST:PORT or [IPv6]:PORT, not the start of USER:PASSWORD with an unescaped slash."""
    return re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:]*)(:\d*)?", text) is not None
