"""Read plain data from a pickle without running it: an interpreter for the few instructions that data need.

Python's own unpickler calls whatever the file names. This one calls nothing. It knows a few names and builds what they
stand for itself (pickled_values.py). Any other name and any unknown instruction is refused. Time and memory are
proportional to the file's size, which is limited.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genai_core.data.ingest.readers.pickled_values import (
    SHOWN_LENGTH,
    Name,
    RefusedPickleError,
    expect,
    finished,
    known,
    made_by,
    number,
    pairs,
    set_state,
    singles,
    tuple_of,
)

# CIFAR-100's training batch, the largest published one, has 155 MB and 200,000 instructions.
MAX_BYTES = 512 << 20
MAX_INSTRUCTIONS = 1_000_000
_MARK = object()


@dataclass
class _Machine:
    """State of the interpreter. made_bytes: total of all bytes made from texts; limited to the file's size."""

    max_made_bytes: int
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    made_bytes: int = 0

    def pop_to_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise RefusedPickleError("an instruction without its mark")


def read_pickled_data(path: Path) -> Any:
    """Read single values, lists, dicts and NumPy arrays from a pickle file, not nested; texts and bytes unchanged.

    Raises ValueError, naming what the pickle would have run, for any other content or a damaged file.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path}: {size:,} bytes; the limit for a pickle is {MAX_BYTES:,}")
    machine = _Machine(max_made_bytes=size)
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(path.read_bytes())):
            try:
                if opcode.name == "STOP":
                    return finished(machine.stack.pop())
                if count == MAX_INSTRUCTIONS:
                    raise RefusedPickleError(f"more than {MAX_INSTRUCTIONS:,} instructions")
                _step(machine, opcode.name, argument)
            except RefusedPickleError as error:
                raise RefusedPickleError(f"{error}, at byte {position}") from None
    except RefusedPickleError as error:
        raise RefusedPickleError(f"{path}: refused, nothing was run: {error}") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise ValueError(f"{path}: damaged, or not a pickle ({str(error)[:SHOWN_LENGTH]})") from None
    raise ValueError(f"{path}: damaged: its end is missing")


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
# For these instructions, the argument is the value.
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_VALUES = {
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
# Python 2 strings hold text or raw bytes; pickletools shows the bytes as latin-1.
_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _step(machine: _Machine, name: str, argument: Any) -> None:
    stack = machine.stack
    if name in _VALUES:
        stack.append(argument)
    elif name in _NUMBERS:
        stack.append(number(argument))
    elif name in _STRINGS:
        stack.append(argument.encode("latin-1"))
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name]())
    elif name in _TUPLES:
        items = stack[-_TUPLES[name] :]
        del stack[-_TUPLES[name] :]
        stack.append(tuple_of(items))
    elif name in ("TUPLE", "LIST", "DICT"):
        items = machine.pop_to_mark()
        stack.append(tuple_of(items) if name == "TUPLE" else singles(items) if name == "LIST" else pairs(items))
    elif name == "APPEND":
        item = stack.pop()
        expect(stack[-1], list).extend(singles([item]))
    elif name == "APPENDS":
        items = machine.pop_to_mark()
        expect(stack[-1], list).extend(singles(items))
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        expect(stack[-1], dict).update(pairs([key, value]))
    elif name == "SETITEMS":
        items = machine.pop_to_mark()
        expect(stack[-1], dict).update(pairs(items))
    elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
        machine.memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        machine.memo[len(machine.memo)] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(machine.memo[argument])
    elif name == "GLOBAL":
        stack.append(known(Name(*argument.split(" ", 1))))
    elif name == "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        stack.append(known(Name(expect(module, str), expect(attribute, str))))
    elif name == "REDUCE":
        arguments, called = stack.pop(), stack.pop()
        stack.append(made_by(called, arguments))
        machine.made_bytes += len(stack[-1]) if isinstance(stack[-1], bytes) else 0
        if machine.made_bytes > machine.max_made_bytes:
            raise RefusedPickleError("it would produce more bytes than the file has")
    elif name == "BUILD":
        state = stack.pop()
        set_state(stack[-1], state)
    elif name not in ("PROTO", "FRAME"):
        raise RefusedPickleError(f"the instruction {name}, which plain data do not need")
