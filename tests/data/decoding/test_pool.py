import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from genai_core.data.decoding import pool, processes
from genai_core.data.decoding.image import Decoded, DecodeRule, Rejection
from genai_core.data.decoding.pool import decode_files
from genai_core.data.raw.locations import hash_locations
from genai_core.image_size import ImageSize

RULE = DecodeRule(image_size=ImageSize.square(8), channels=1, fit="crop", background=(0, 0, 0), max_megapixels=1)


def decode_all(paths: list[Path], workers: int) -> list[Decoded | Rejection]:
    results: list[Decoded | Rejection | None] = [None] * len(paths)
    for batch in decode_files([str(path) for path in paths], RULE, workers=workers):
        pixels = iter(batch.pixels)
        for index, record in enumerate(batch.records):
            if index in batch.rejected:
                results[batch.first + index] = batch.rejected[index]
            else:
                sha256, size = record["sha256"].tobytes(), (int(record["width"]), int(record["height"]))
                decoded = Decoded(next(pixels).tobytes(), sha256, *size, batch.flags.get(index, ()))
                results[batch.first + index] = decoded
        assert next(pixels, None) is None
    return [result for result in results if result is not None]


def test_results_do_not_depend_on_the_number_of_workers(tmp_path, save_images):
    paths = [tmp_path / name for name in save_images(tmp_path, 80)]
    paths.insert(40, tmp_path / "missing.png")
    results = decode_all(paths, workers=1)
    assert results == decode_all(paths, workers=3)
    assert len(results) == 81
    assert isinstance(results[40], Rejection)
    assert results[40].reason == "unreadable"
    assert all(isinstance(result, Decoded) for index, result in enumerate(results) if index != 40)


def test_files_are_identified_by_their_hash(tmp_path, save_images):
    names = [str(tmp_path / name) for name in save_images(tmp_path, 5)] + [str(tmp_path / "missing.png")]
    (batch,) = decode_files(names, RULE, workers=1)
    hashes = [record.tobytes() for record in batch.records["file_sha256"]]
    assert hashes[:5] == [hashlib.sha256(Path(name).read_bytes()).digest() for name in names[:5]]
    assert hashes[5] == bytes(32)
    assert hashes == [hash_locations([name]) for name in names]


def test_no_files_need_no_worker():
    assert decode_all([], workers=2) == []


@pytest.mark.parametrize("how", ["dies", "endless"])
def test_only_the_file_that_kills_the_worker_is_rejected(how, tmp_path, save_images, monkeypatch):
    monkeypatch.setattr(processes, "WORKER_MODULE", "tests.data.dying_worker")
    paths = [tmp_path / name for name in save_images(tmp_path, 40)]
    for index in (3, 35):
        paths[index] = paths[index].rename(tmp_path / f"{how}{index}.png")
    results = decode_all(paths, workers=2)
    rejected = {index: result.reason for index, result in enumerate(results) if isinstance(result, Rejection)}
    assert rejected == {3: "decoder_died", 35: "decoder_died"}


def test_a_file_that_takes_too_much_memory_kills_only_the_worker(tmp_path, save_images, monkeypatch):
    monkeypatch.setattr(processes, "WORKER_MODULE", "tests.data.dying_worker")
    paths = [tmp_path / name for name in save_images(tmp_path, 3)]
    paths[1] = paths[1].rename(tmp_path / "memory.png")
    results = decode_all(paths, workers=1)
    assert [type(result) for result in results] == [Decoded, Rejection, Decoded]


def test_a_worker_that_cannot_start_is_an_error_not_a_rejected_file(tmp_path, save_images, monkeypatch):
    monkeypatch.setattr(processes, "WORKER_MODULE", "genai_core.data.no_such_module")
    paths = [tmp_path / name for name in save_images(tmp_path, 3)]
    with pytest.raises(RuntimeError, match=r"did not start: .*no_such_module"):
        decode_all(paths, workers=2)


def test_no_process_stays_if_the_caller_stops_early(tmp_path, save_images):
    paths = [tmp_path / name for name in save_images(tmp_path, 200)]
    before = psutil.Process().children()
    decoding = decode_files([str(path) for path in paths], RULE, workers=2)
    next(decoding)
    decoding.close()
    assert psutil.Process().children() == before


def test_no_process_stays_if_the_caller_fails(tmp_path, save_images):
    paths = [str(tmp_path / name) for name in save_images(tmp_path, 200)]
    before = psutil.Process().children()
    with pytest.raises(ZeroDivisionError):
        list(decode_files(paths, RULE, workers=2, meanwhile=lambda: 1 / 0))
    assert psutil.Process().children() == before


def test_the_second_process_does_not_wait_for_a_first_that_is_slow(tmp_path, save_images, monkeypatch):
    """Few large images: both processes get a request before either answers."""
    monkeypatch.setattr(pool, "BATCH_FILES", 1)
    both, answer = threading.Barrier(2), pool.Worker.answer

    def slow(worker, first, places):
        both.wait(timeout=60)
        return answer(worker, first, places)

    monkeypatch.setattr(pool.Worker, "answer", slow)
    paths = [tmp_path / name for name in save_images(tmp_path, 2)]
    assert all(isinstance(result, Decoded) for result in decode_all(paths, workers=2))


def test_names_that_are_not_utf8_reach_the_worker(tmp_path, save_images):
    (name,) = save_images(tmp_path, 1)
    path = (tmp_path / name).rename(tmp_path / b"\xff.png".decode("utf-8", "surrogateescape"))
    (result,) = decode_all([path], workers=1)
    assert isinstance(result, Decoded)


def test_pixels_and_flags_survive_the_transfer_between_processes(tmp_path, save_images):
    (name,) = save_images(tmp_path, 1)
    path = (tmp_path / name).rename(tmp_path / "1.jpg")
    (result,) = decode_all([path], workers=1)
    assert isinstance(result, Decoded)
    assert (result.width, result.height, result.flags) == (12, 12, ("wrong_extension",))
    assert len(result.pixels) == 64


def test_unused_processes_end_with_the_used_ones(tmp_path, save_images):
    paths = [str(tmp_path / name) for name in save_images(tmp_path, 3)]
    before = psutil.Process().children(recursive=True)
    started = pool.start_workers(RULE, 3)
    (batch,) = decode_files(paths, RULE, workers=3, started=started)
    assert len(batch.pixels) == 3
    for worker in started:
        worker.wait()
    assert psutil.Process().children(recursive=True) == before


def test_processes_end_with_their_parent(tmp_path):
    """Even if the parent is killed."""
    code = (
        "import os; from genai_core.data.decoding.image import DecodeRule; "
        "from genai_core.image_size import ImageSize; "
        "from genai_core.data.decoding.pool import *; "
        "two = start_workers(DecodeRule(ImageSize(8, 8), 1, 'crop', (0, 0, 0), 1), 2); "
        "[worker._make_ready() for worker in two]; "
        "import psutil; print(*[p.pid for p in psutil.Process().children(recursive=True)], flush=True); os._exit(0)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    numbers = [int(number) for number in said.split()]
    assert len(numbers) == 3  # the two workers and the fork server
    _gone, alive = psutil.wait_procs([psutil.Process(n) for n in numbers if psutil.pid_exists(n)], timeout=60)
    assert not alive
