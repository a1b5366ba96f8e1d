"""A decoding process whose libraries decode the same files to other pixels (test_growth.py)."""

import hashlib

from genai_core.data.decoding import worker
from genai_core.data.decoding.image import Decoded, DecodeRule, Rejection, decode_file


def decode_inverted(path: str, rule: DecodeRule, content: bytes | None) -> Decoded | Rejection:
    decoded = decode_file(path, rule, content)
    if isinstance(decoded, Rejection):
        return decoded
    pixels = bytes(255 - value for value in decoded.pixels)
    return decoded._replace(pixels=pixels, sha256=hashlib.sha256(pixels).digest())


def main() -> None:
    worker.decode_file = decode_inverted
    worker.main()
