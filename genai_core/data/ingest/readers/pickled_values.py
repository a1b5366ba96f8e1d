"""Values in a pickle of plain data, and the meaning of the few known names (pickled_data.py).

A pickle of a few bytes can stand for an unbounded value: it can insert an object any number of times, even into itself.
Therefore only flat data are read: lists hold single values; dicts hold single values, lists and arrays. No value from a
file is ever traversed recursively or shown in full.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_MAX_TUPLE_ITEMS = 16  # a tuple holds call arguments, an array's shape or its state
_MAX_KEY_LENGTH = 256  # longer keys would be compared again and again
_MAX_NUMBER_BITS = 64
SHOWN_LENGTH = 80
_DTYPES = {"u1", "i4", "i8", "f4", "f8"}
_SINGLE = (type(None), bool, int, float, str, bytes, bytearray)


class RefusedPickleError(ValueError):
    """The pickle contains something that plain data do not need."""


@dataclass(frozen=True)
class Name:
    """An object that a pickle would import and call."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"[:SHOWN_LENGTH]


@dataclass
class Array:
    """A NumPy array in two steps: empty, then its state (version, shape, dtype, is Fortran order, bytes)."""

    value: Any = None


@dataclass
class DType:
    code: str


def known(name: Name) -> Name:
    """Return the name if plain data need it. Raises RefusedPickleError otherwise."""
    own = Name(name.module.replace("numpy._core", "numpy.core"), name.name)  # renamed in NumPy 2
    if own not in _MAKERS:
        raise RefusedPickleError(f"it would run {name}, which plain data do not need")
    return own


def made_by(called: Any, arguments: Any) -> Any:
    """Return what calling a known name would return."""
    if not isinstance(called, Name) or called not in _MAKERS:
        raise RefusedPickleError("it would call an unknown object")
    return _MAKERS[called](*expect(arguments, tuple))


def _make_array(kind: Any, _shape: Any, _code: Any) -> Array:
    if kind != Name("numpy", "ndarray"):
        raise RefusedPickleError("an array of an unknown kind")
    return Array()


def _make_dtype(code: Any, *_flags: Any) -> DType:
    text = code.decode("latin-1") if isinstance(code, bytes) else code
    if not isinstance(text, str) or text not in _DTYPES:
        raise RefusedPickleError(f"an array of type {_shown(code)}; expected one of {', '.join(sorted(_DTYPES))}")
    return DType(text)


def _make_bytes(text: Any, encoding: Any) -> Any:
    # Python 3 writes bytes for Python 2 in this form.
    if encoding not in ("latin1", b"latin1"):
        raise RefusedPickleError(f"bytes with the encoding {_shown(encoding)}")
    return expect(text, str).encode("latin-1")


def _make_from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> Array:
    if order not in ("C", b"C"):
        raise RefusedPickleError("an array in Fortran order")
    return Array(_array(buffer, dtype, shape))


def _no_call(*_arguments: Any) -> Any:
    raise RefusedPickleError("an array made in an unknown way")


_MAKERS: dict[Name, Callable[..., Any]] = {
    Name("numpy.core.multiarray", "_reconstruct"): _make_array,
    Name("numpy.core.numeric", "_frombuffer"): _make_from_buffer,
    Name("numpy", "ndarray"): _no_call,
    Name("numpy", "dtype"): _make_dtype,
    Name("_codecs", "encode"): _make_bytes,
}


def set_state(made: Any, state: Any) -> None:
    """Finish an array or dtype, as NumPy's __setstate__ does."""
    if isinstance(made, DType):
        # (version, byte order, ...): bytes have no order; "<" is that of nearly every machine.
        order = expect(state, tuple)[1]
        if order not in ("|", b"|", "<", b"<"):
            raise RefusedPickleError(f"numbers with the byte order {_shown(order)}")
    elif isinstance(made, Array):
        _version, shape, dtype, is_fortran_order, content = expect(state, tuple)
        if is_fortran_order:
            raise RefusedPickleError("an array in Fortran order")
        made.value = _array(content, dtype, shape)
    else:
        raise RefusedPickleError(f"it would set the state of a {type(made).__name__}")


def _array(content: Any, dtype: Any, shape: Any) -> Any:
    """View existing bytes as an array: no copy, and no number in the file decides how much memory is allocated."""
    code = expect(dtype, DType).code
    return np.frombuffer(expect(content, (bytes, bytearray)), dtype=code).reshape(expect(shape, tuple))


def number(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _MAX_NUMBER_BITS:
        raise RefusedPickleError(f"an integer of {value.bit_length():,} bits")
    return value


def singles(items: list[Any]) -> list[Any]:
    for item in items:
        if not isinstance(item, _SINGLE):
            raise RefusedPickleError(f"a {type(item).__name__} in a list; only single values are allowed there")
    return items


def tuple_of(items: list[Any]) -> tuple[Any, ...]:
    if len(items) > _MAX_TUPLE_ITEMS:
        raise RefusedPickleError(f"a tuple of {len(items):,} items; an array needs at most {_MAX_TUPLE_ITEMS}")
    for item in items:
        is_flat = isinstance(item, tuple) and not any(isinstance(inner, tuple) for inner in item)
        if not (is_flat or isinstance(item, (*_SINGLE, Name, DType))):
            raise RefusedPickleError(f"a {type(item).__name__} in a tuple, which is not part of any array's state")
    return tuple(items)


def pairs(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise ValueError("a key without a value")
    keys, values = items[::2], items[1::2]
    for key in keys:
        if not isinstance(key, str | bytes) or len(key) > _MAX_KEY_LENGTH:
            raise RefusedPickleError(f"the key {_shown(key)}; a key is a text of up to {_MAX_KEY_LENGTH} characters")
    for value in values:
        if not isinstance(value, (*_SINGLE, list, Array)):
            raise RefusedPickleError(f"a {type(value).__name__} in a dict; allowed: single values, lists and arrays")
    return dict(zip(keys, values, strict=True))


def expect(value: Any, kind: type[Any] | tuple[type[Any], ...]) -> Any:
    if not isinstance(value, kind):
        wanted = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
        raise ValueError(f"expected {wanted}, got {type(value).__name__}")
    return value


def _shown(value: Any) -> str:
    """Format a value of the file for a message: truncated, without the contents of containers."""
    if isinstance(value, str | bytes | bytearray):
        return repr(value[:SHOWN_LENGTH])
    return repr(value) if isinstance(value, _SINGLE) else f"a {type(value).__name__}"


def finished(value: Any) -> Any:
    """Return the outermost container with its arrays filled in."""
    if isinstance(value, Array):
        return value.value
    if isinstance(value, dict):
        return {key: item.value if isinstance(item, Array) else item for key, item in value.items()}
    return value
