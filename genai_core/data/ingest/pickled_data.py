"""Plain data out of a pickle, without running it: a reader of the few instructions that data consist of.

Python's own unpickler calls whatever the file names. This one calls nothing: the names below are known to it, and it
makes what they stand for by itself; any other name, and any instruction that it does not know, is refused.
"""

import pickletools
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MAX_BYTES = 1 << 30
_MARK = object()
_DTYPES = {"u1", "i4", "i8", "f4", "f8"}


class RefusedPickleError(ValueError):
    """The pickle names or does what plain data do not."""


@dataclass(frozen=True)
class _Name:
    """What a pickle would import and call."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class _Array:
    """numpy's two steps: an empty array, then its state (version, shape, dtype, is Fortran order, bytes)."""

    value: Any = None


@dataclass
class _DType:
    code: str


@dataclass
class _Machine:
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def pop_to_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                items = self.stack[place + 1 :]
                del self.stack[place:]
                return items
        raise RefusedPickleError("an instruction without its beginning")


def read_pickled_data(path: Path) -> Any:
    """Numbers, texts, bytes, lists, tuples, dicts and NumPy arrays of a pickle file; texts and bytes as they stand.

    Raises ValueError, naming what the pickle would have run, when there is anything else in it, or when it is damaged.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path}: {size:,} bytes; a pickle of more than {MAX_BYTES:,} is not read")
    machine = _Machine()
    try:
        for opcode, argument, place in pickletools.genops(path.read_bytes()):
            try:
                if opcode.name == "STOP":
                    return _finished(machine.stack.pop())
                _step(machine, opcode.name, argument)
            except RefusedPickleError as error:
                raise RefusedPickleError(f"{error}, at byte {place}") from None
    except RefusedPickleError as error:
        raise RefusedPickleError(f"{path}: refused, nothing of it was run: {error}") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise ValueError(f"{path}: damaged, or no pickle ({error})") from None
    raise ValueError(f"{path}: damaged: it has no end")


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
# Their argument is the value.
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
# Python 2's strings hold text as well as raw bytes; pickletools shows the bytes as latin-1.
_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _step(machine: _Machine, name: str, argument: Any) -> None:
    stack = machine.stack
    if name in _VALUES:
        stack.append(argument)
    elif name in _STRINGS:
        stack.append(argument.encode("latin-1"))
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name]())
    elif name in _TUPLES:
        items = stack[-_TUPLES[name] :]
        del stack[-_TUPLES[name] :]
        stack.append(tuple(items))
    elif name in ("TUPLE", "LIST", "DICT"):
        items = machine.pop_to_mark()
        stack.append(tuple(items) if name == "TUPLE" else items if name == "LIST" else _pairs(items))
    elif name == "APPEND":
        item = stack.pop()
        _expect(stack[-1], list).append(item)
    elif name == "APPENDS":
        items = machine.pop_to_mark()
        _expect(stack[-1], list).extend(items)
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        _expect(stack[-1], dict).update(_pairs([key, value]))
    elif name == "SETITEMS":
        items = machine.pop_to_mark()
        _expect(stack[-1], dict).update(_pairs(items))
    elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
        machine.memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        machine.memo[len(machine.memo)] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(machine.memo[argument])
    elif name == "GLOBAL":
        stack.append(_known(_Name(*argument.split(" ", 1))))
    elif name == "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        stack.append(_known(_Name(str(module), str(attribute))))
    elif name == "REDUCE":
        arguments, called = stack.pop(), stack.pop()
        stack.append(_made(called, arguments))
    elif name == "BUILD":
        state = stack.pop()
        _set_state(stack[-1], state)
    elif name not in ("PROTO", "FRAME"):
        raise RefusedPickleError(f"the instruction {name} is none that data need")


def _known(name: _Name) -> _Name:
    module = name.module.replace("numpy._core", "numpy.core")  # its name since NumPy 2
    known = _Name(module, name.name)
    if known not in _MAKERS:
        raise RefusedPickleError(f"it would run {name}, which data do not need")
    return known


def _made(called: Any, arguments: Any) -> Any:
    if not isinstance(called, _Name) or called not in _MAKERS:
        raise RefusedPickleError("it would call something that is no known name")
    return _MAKERS[called](*arguments)


def _make_array(kind: Any, _shape: Any, _code: Any) -> _Array:
    if kind != _Name("numpy", "ndarray"):
        raise RefusedPickleError("an array of an unknown kind")
    return _Array()


def _make_dtype(code: Any, *_flags: Any) -> _DType:
    text = code.decode("latin-1") if isinstance(code, bytes) else str(code)
    if text not in _DTYPES:
        raise RefusedPickleError(f"an array of type {text}; expected one of {', '.join(sorted(_DTYPES))}")
    return _DType(text)


def _make_bytes(text: Any, encoding: Any) -> Any:
    # How Python 3 writes bytes for Python 2.
    if encoding not in ("latin1", b"latin1"):
        raise RefusedPickleError(f"bytes in the encoding {encoding!r}")
    return _expect(text, str).encode("latin-1")


def _make_from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    if order not in ("C", b"C"):
        raise RefusedPickleError("an array in Fortran order")
    return _Array(np.frombuffer(bytes(buffer), dtype=_expect(dtype, _DType).code).reshape(shape))


def _no_call(*_arguments: Any) -> Any:
    raise RefusedPickleError("an array that is made in an unknown way")


_MAKERS: dict[_Name, Callable[..., Any]] = {
    _Name("numpy.core.multiarray", "_reconstruct"): _make_array,
    _Name("numpy.core.numeric", "_frombuffer"): _make_from_buffer,
    _Name("numpy", "ndarray"): _no_call,
    _Name("numpy", "dtype"): _make_dtype,
    _Name("_codecs", "encode"): _make_bytes,
}


def _set_state(made: Any, state: Any) -> None:
    if isinstance(made, _DType):
        # (version, byte order, ...): bytes have none, "<" is that of nearly every machine.
        if state[1] not in ("|", b"|", "<", b"<"):
            raise RefusedPickleError(f"numbers in the byte order {state[1]!r}")
    elif isinstance(made, _Array):
        _version, shape, dtype, is_fortran_order, content = state
        if is_fortran_order:
            raise RefusedPickleError("an array in Fortran order")
        made.value = np.frombuffer(_expect(content, bytes), dtype=_expect(dtype, _DType).code).reshape(shape)
    else:
        raise RefusedPickleError(f"it would set the state of a {type(made).__name__}")


def _pairs(items: list[Any]) -> dict[Hashable, Any]:
    if len(items) % 2:
        raise ValueError("a key without a value")
    return dict(zip(items[::2], items[1::2], strict=True))


def _expect(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _finished(value: Any) -> Any:
    """The outermost containers with their arrays in place."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {key: item.value if isinstance(item, _Array) else item for key, item in value.items()}
    return value
