"""Addresses as they may be shown and stored: without passwords, and whatever else in them lets somebody in."""

import re

DVC_PREFIX = "dvc://"  # dvc://REPOSITORY#PATH[@REVISION]
# A mark that ends a clause is no part of it.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>`]*[^\s\"'<>`.,:;!)]")
# Here what stands before the @ may be a token by itself. Elsewhere it is an account (ssh), or a container (abfs).
_TOKENS_AS_USERS = ("http", "https", "webdav", "webdavs")


def without_secrets(address: str) -> str:
    """An address without password, query and fragment, since a signature in a query opens the door, too.

    Of http and webdav without the user, who may be a token. A path on this machine is left as it is.
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
    """A text, such as another program's error, with each address in it without its secrets."""
    return _ADDRESS.sub(lambda match: without_secrets(match[0]), text)


def hosts_only(text: str) -> str:
    """A text with no more of each address in it than where it leads: the path of a webhook is its key."""
    return _ADDRESS.sub(lambda match: "/".join(without_secrets(match[0]).split("/")[:3]), text)


def _is_host(text: str) -> bool:
    """HOST, HOST:PORT or [IPv6]:PORT, and not the beginning of USER:PASSWORD with a slash that nobody escaped."""
    return re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:]*)(:\d*)?", text) is not None
