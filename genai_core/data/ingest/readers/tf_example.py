"""Parse tf.train.Example from Protocol Buffers' wire format.

    message Example  { Features features = 1; }
    message Features { map<string, Feature> feature = 1; }           an entry is a message: key = 1, value = 2
    message Feature  { BytesList = 1 | FloatList = 2 | Int64List = 3 }     each: repeated value = 1, numbers packed

https://protobuf.dev/programming-guides/encoding
"""

import struct
from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_MAX_VARINT_BYTES = 10

Features = dict[str, list[bytes] | list[float] | list[int]]


def parse_example(message: bytes) -> Features:
    """Return the features that have a value, by name. Raises ValueError or IndexError for any other message."""
    features: Features = {}
    for number, value in _fields(message):
        if number == 1:
            for entry_number, entry in _fields(_as_bytes(value)):
                if entry_number == 1:
                    parts = dict(_fields(_as_bytes(entry)))
                    values = _values(_as_bytes(parts.get(2, b"")))
                    if values:
                        features[_as_bytes(parts.get(1, b"")).decode("utf-8")] = values
    return features


def _values(feature: bytes) -> list[bytes] | list[float] | list[int]:
    for kind, content in _fields(feature):
        items = [value for number, value in _fields(_as_bytes(content)) if number == 1]
        if kind == 1:
            return [_as_bytes(item) for item in items]
        if kind == 2:
            packed = b"".join(item if isinstance(item, bytes) else struct.pack("<I", item) for item in items)
            return list(struct.unpack(f"<{len(packed) // 4}f", packed))
        if kind == 3:
            return [
                number for item in items for number in (_varints(item) if isinstance(item, bytes) else [_signed(item)])
            ]
    return []


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield the number and the value of each field."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, position = _varint(message, position)
        elif wire_type in (_FIXED32, _FIXED64):
            size = 4 if wire_type == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire_type}")
        if position + size > len(message):
            raise ValueError("a field is longer than its message")
        content = message[position : position + size]
        yield number, content if wire_type == _BYTES else int.from_bytes(content, "little")
        position += size


def _varints(packed: bytes) -> Iterator[int]:
    position = 0
    while position < len(packed):
        value, position = _varint(packed, position)
        yield _signed(value)


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and the position behind it."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        byte = message[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError("a number of more than ten bytes")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _as_bytes(value: bytes | int) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where a message is expected")
    return value
