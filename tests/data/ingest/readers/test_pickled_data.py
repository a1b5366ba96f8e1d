"""Small pickles of huge objects, read by the real reader in a process with bounded memory and time."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from genai_core.data.ingest.readers.pickled_data import MAX_INSTRUCTIONS, read_pickled_data
from tests.test_rooms import ROOT

# Allowed in addition to the memory of Python and NumPy.
MORE_BYTES, MORE_SECONDS = 512 << 20, 60
READ = f"""
import resource, sys
from pathlib import Path
from genai_core.data.ingest.readers.cifar import read_cifar

taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + {MORE_BYTES},) * 2)
spent = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
resource.setrlimit(resource.RLIMIT_CPU, (spent + {MORE_SECONDS},) * 2)
for path in map(Path, sys.argv[1:]):
    try:
        list(read_cifar([path]).items)
    except ValueError as error:
        print(path.parent.name, error, sep="\\0", flush=True)
"""

LATIN1 = b"\x8c\x06latin1"
ENCODE = b"c_codecs\nencode\n"
FROM_BUFFER = b"cnumpy.core.numeric\n_frombuffer\n"
U1 = b"cnumpy\ndtype\n\x8c\x02u1\x85R"


def text(value: bytes) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value


def shared_tuples(depth: int) -> bytes:
    """A tuple of twice the same tuple, of twice the same tuple, and so on."""
    return b")" + b"q\x00h\x00\x86" * depth


def list_of(item: bytes, count: int) -> bytes:
    """A list of `count` references to one item."""
    return b"](" + item + b"q\x00" + b"h\x00" * (count - 1) + b"e"


ARRAY = FROM_BUFFER + b"(" + b"B" + (3072).to_bytes(4, "little") + bytes(3072) + U1 + b"K\x01M\x00\x0c\x86\x8c\x01CtR"
BOMBS = {
    "shared tuples in a message": ENCODE + b"(" + text(b"x") + shared_tuples(30) + b"tR.",
    "shared tuples as a key": b"}" + shared_tuples(30) + b"K\x01s.",
    "shared tuples as a label": b"}" + text(b"labels") + b"]" + shared_tuples(30) + b"as.",
    "shared lists": b"]" + b"q\x00]h\x00ah\x00a" * 30 + b".",
    "deep tuple as a key": b"})" + b"\x85" * 200_000 + b"K\x01s.",
    "deep list": b"]" * 200_000 + b"a" * 199_999 + b".",
    "deep dict": (b"}" + text(b"x")) * 100_000 + b"N" + b"s" * 100_000 + b".",
    "list of itself": b"]q\x00h\x00a.",
    "dict of itself": b"}q\x00" + text(b"data") + b"h\x00s.",
    "tuple of a list of itself": b"]q\x00h\x00\x85a.",
    "millions of lists": b"]" * 10_000_000 + b".",
    "millions of marks": b"(" * 10_000_000 + b".",
    "buffer of a size": FROM_BUFFER + b"(\x8a\x06\x00\x00\x00\x00\x00\x01" + U1 + b"K\x00\x85\x8c\x01CtR.",
    "text made into bytes again and again": text(b"x" * (16 << 20))
    + b"q\x00"
    + (ENCODE + b"h\x00" + LATIN1 + b"\x86R") * 1_000
    + b".",
    "one long key against another": b"}"
    + text(b"x" * (16 << 20))
    + b"q\x00K\x01s"
    + text(b"x" * (16 << 20))
    + b"q\x01K\x01s"
    + b"h\x00K\x01sh\x01K\x01s" * 100_000
    + b".",
    "number of a million digits": b"}"
    + text(b"labels")
    + b"]\x8b"
    + (1 << 20).to_bytes(4, "little")
    + b"\x7f" * (1 << 20)
    + b"as.",
    "name of many megabytes": b"c" + b"x" * (16 << 20) + b"\neval\n.",
    "array of a shape without end": FROM_BUFFER
    + b"(B\x00\x00\x00\x00"
    + U1
    + b"("
    + b"K\x00" * 200_000
    + b"t\x8c\x01CtR.",
}


def read_in_bounds(*paths):
    command = [sys.executable, "-c", READ, *map(str, paths)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """The message for each bomb, by name. All in one process: if one kills it, that and later ones are missing."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, content in BOMBS.items():
        (folder / name).mkdir()
        (folder / name / "data_batch_1").write_bytes(content)
    answer = read_in_bounds(*(folder / name / "data_batch_1" for name in BOMBS))
    return dict(line.split("\0") for line in answer.stdout.splitlines()), answer


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_memory_and_time_with_a_short_message(name, refusals):
    said, answer = refusals
    assert name in said, f"status {answer.returncode}: {answer.stderr[-2000:]}"
    assert f"{name}/data_batch_1: " in said[name]
    assert len(said[name]) < 600


def test_class_names_as_one_long_text(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"}(" + text(b"data") + ARRAY + text(b"labels") + b"](K\x00eu.")
    names = list_of(text(b"x" * (16 << 20)), 1_000)
    (tmp_path / "batches.meta").write_bytes(b"}" + text(b"label_names") + names + b"s.")
    answer = read_in_bounds(tmp_path / "data_batch_1")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "batches.meta: expected class names under label_names" in answer.stdout


def test_real_batch_is_read_in_the_same_bounds(tmp_path):
    """As large as CIFAR-10's: 10,000 images with labels and file names."""
    count = 10_000
    batch = {b"data": np.zeros((count, 3072), np.uint8), b"labels": [index % 10 for index in range(count)]}
    batch[b"filenames"] = [f"an_image_s_{index:06}.png".encode() for index in range(count)]
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch, 2))
    answer = read_in_bounds(tmp_path / "data_batch_1")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_the_limit_of_instructions_is_far_above_real_data(tmp_path):
    (tmp_path / "x").write_bytes(pickle.dumps({"labels": list(range(300_000))}, 2))
    assert len(read_pickled_data(tmp_path / "x")["labels"]) == 300_000
    (tmp_path / "x").write_bytes(b"N" * (MAX_INSTRUCTIONS + 1) + b".")
    with pytest.raises(ValueError, match=r"more than 1,000,000 instructions, at byte 1000000"):
        read_pickled_data(tmp_path / "x")
