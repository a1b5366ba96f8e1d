"""CRC-32C (Castagnoli), with which TFRecord files are checked. The package google-crc32c makes it 100 times faster."""

from importlib import import_module
from typing import Any

_POLYNOMIAL = 0x82F63B78  # reflected
_MASK_DELTA = 0xA282EAD8


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes (RFC 3720, appendix B.4)."""
    if _library is not None:
        return int(_library.value(data))
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """Return the CRC as TFRecord stores it, rotated and shifted, so that a CRC of CRCs is not weak."""
    value = crc32c(data)
    return ((value >> 15 | value << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


def _imported() -> Any:
    try:
        return import_module("google_crc32c")
    except ImportError:
        return None


_TABLE = [_entry(byte) for byte in range(256)]
_library = _imported()
