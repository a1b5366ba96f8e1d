"""The records of a TFRecord file, with their checksums.

A record is its length (8 bytes, little-endian), the masked CRC-32C of those bytes, the content, and its masked CRC-32C.
https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

import os
from collections.abc import Iterator
from pathlib import Path

from genai_core.data.ingest.readers.arrays import opened, reporting_damage
from genai_core.data.ingest.readers.crc32c import masked_crc32c

_MAX_RECORD_BYTES = 512 << 20


def count_records(path: Path) -> int:
    """Count the records by their lengths alone, without a check."""
    count = 0
    with opened(path) as file, reporting_damage(str(path)):
        while len(header := file.read(12)) == 12:
            file.seek(min(int.from_bytes(header[:8], "little") + 4, _MAX_RECORD_BYTES), os.SEEK_CUR)
            count += 1
    return count


def records(path: Path) -> Iterator[bytes]:
    """Yield the content of each record. Raises ValueError when the file ends early or a checksum differs."""
    with opened(path) as file:
        index = 0
        while True:
            with reporting_damage(str(path)):
                header = file.read(12)
            if not header:
                return
            size = int.from_bytes(header[:8], "little")
            if len(header) < 12 or masked_crc32c(header[:8]) != int.from_bytes(header[8:], "little"):
                raise ValueError(
                    f"{path}: damaged, or not a TFRecord file: the checksum of the length of record {index:,} is wrong"
                )
            if size > _MAX_RECORD_BYTES:
                raise ValueError(
                    f"{path}: record {index:,} declares {size:,} bytes; the limit is {_MAX_RECORD_BYTES:,}"
                )
            with reporting_damage(str(path)):
                content = file.read(size + 4)
            if len(content) < size + 4:
                raise ValueError(f"{path}: truncated in record {index:,}; download it again")
            if masked_crc32c(content[:size]) != int.from_bytes(content[size:], "little"):
                raise ValueError(f"{path}: damaged: the checksum of record {index:,} is wrong; download it again")
            yield content[:size]
            index += 1
