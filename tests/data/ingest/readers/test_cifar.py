import pickle
import tarfile

import numpy as np
import pytest

from genai_core.data.ingest.choices import Choices
from genai_core.data.ingest.readers.pickled_data import RefusedPickleError, read_pickled_data
from tests.data.ingest.conftest import nothing_was_added


@pytest.fixture
def data():
    return np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)


def write_cifar10(folder, data, protocol=2):
    folder.mkdir()
    for name, rows in {"data_batch_1": data[:3], "test_batch": data[3:]}.items():
        batch = {b"batch_label": b"x", b"labels": [1, 0, 1][: len(rows)], b"data": rows, b"filenames": [b"a.png"]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat", b"dog"]}, protocol))
    return folder


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("packed", [True, False])
def test_batches_of_every_protocol(protocol, packed, data, tmp_path, add, raw, images_in):
    source = write_cifar10(tmp_path / "cifar-10-batches-py", data, protocol)
    if packed:
        with tarfile.open(tmp_path / "cifar.tar.gz", "w:gz") as archive:
            archive.add(source, source.name)
        source = tmp_path / "cifar.tar.gz"
    assert add(source, choices=Choices(split=True)).splits == {"train": 3, "test": 1}
    found = images_in(raw / "set.train")
    assert list(found) == ["cat/data_batch_1-000001.png", "dog/data_batch_1-000000.png", "dog/data_batch_1-000002.png"]
    for path, image in found.items():
        assert (image.transpose(2, 0, 1).ravel() == data[int(path[-10:-4])]).all()


def test_python_2_batches_have_one_type_for_text_and_bytes(tmp_path):
    """The published files: protocol 2 by Python 2, in which numpy's bytes are BINSTRING."""
    content = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85"
        b"U\x01b\x87Rq\x05(K\x01K\x01K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff"
        b"\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03\x00\x80\xfftbU\x06labels]q\x08(K\x06K\x09eu."
    )
    (tmp_path / "x").write_bytes(content)
    found = read_pickled_data(tmp_path / "x")
    assert found[b"labels"] == [6, 9]
    assert found[b"data"].tolist() == [[0, 128, 255]]


def test_cifar_100(data, tmp_path, add, raw):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, rows in {"train": data[:3], "test": data[3:]}.items():
        batch = {"data": rows, "fine_labels": [2, 0, 1][: len(rows)], "coarse_labels": [0, 0, 0][: len(rows)]}
        (folder / name).write_bytes(pickle.dumps(batch, 2))
    names = {"fine_label_names": ["apple", "bee", "cup"], "coarse_label_names": ["thing"]}
    (folder / "meta").write_bytes(pickle.dumps(names, 2))
    assert add(folder).classes == {"apple": 1, "bee": 1, "cup": 2}


def test_without_names_the_classes_are_numbers(data, tmp_path, add, raw):
    folder = write_cifar10(tmp_path / "c", data)
    (folder / "batches.meta").unlink()
    assert add(folder).classes == {"0": 1, "1": 3}


def test_a_single_batch(data, tmp_path, add, raw):
    assert add(write_cifar10(tmp_path / "c", data) / "data_batch_1").classes == {"cat": 1, "dog": 2}


class Calls:
    def __init__(self, called, *arguments):
        self.called, self.arguments = called, arguments

    def __reduce__(self):
        return (self.called, self.arguments)


class TestRefused:
    @pytest.mark.parametrize("protocol", range(6))
    def test_pickle_that_would_run_code_is_refused_by_name(self, protocol, data, tmp_path, add, raw):
        import os

        folder = write_cifar10(tmp_path / "c", data)
        evil = {"data": data, "labels": Calls(os.system, f"touch {tmp_path}/evil")}
        (folder / "data_batch_1").write_bytes(pickle.dumps(evil, protocol))
        with pytest.raises(ValueError, match=r"data_batch_1: refused, nothing was run: it would run .*\.system"):
            add(folder)
        assert not (tmp_path / "evil").exists()
        assert nothing_was_added(raw)

    @pytest.mark.parametrize(
        "content",
        [
            b"cbuiltins\neval\n(S'1'\ntR.",
            b"(S'ls'\nios\nsystem\n.",
            b"(cos\nsystem\nS'ls'\no.",
            b"\x80\x02cnumpy\nndarray\n)\x81.",
            b"\x80\x02cnumpy\nload\n.",
            b"\x80\x02c_codecs\ndecode\n.",
            b"\x82\x01.",
            b"Ppersistent\n.",
            b"cnumpy.core.multiarray\n_reconstruct\n}b.",
            b"K\x01K\x02R.",
            b"cnumpy\ndtype\n(S'O'\ntR.",
        ],
    )
    def test_opcodes_that_data_does_not_need_are_refused(self, content, tmp_path):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(RefusedPickleError, match=r"x: refused, nothing was run: .* at byte \d+"):
            read_pickled_data(tmp_path / "x")

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"<html>",
            b"K\x01",
            b".",
            b"\x80\x02](K\x01a.",
            b"e.",
            b"0.",
            b"h\x05.",
            b"X\xff\xff\xff\x7fab.",
            b"K\x01K\x02a.",
        ],
    )
    def test_damaged(self, content, tmp_path):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ValueError, match=r"x: (damaged|refused)"):
            read_pickled_data(tmp_path / "x")


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1, 2], "expected a dict"),
        ({"labels": [0]}, "expected `data` as uint8"),
        ({"data": np.zeros((1, 3072)), "labels": [0]}, "expected `data` as uint8"),
        ({"data": np.zeros((1, 100), np.uint8), "labels": [0]}, "expected `data` as uint8"),
        ({"data": np.zeros((1, 3072), np.uint8)}, "expected labels or fine_labels, got data"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": ["a"]}, "list of integers"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [0, 1]}, "1 images, labels has 2 labels"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [7]}, "labels from 7 to 7, but batches.meta has 2 names"),
    ],
)
def test_a_batch_of_another_form_is_named(batch, message, data, tmp_path, add, raw):
    folder = write_cifar10(tmp_path / "c", data)
    (folder / "data_batch_1").write_bytes(pickle.dumps(batch, 2))
    with pytest.raises(ValueError, match=rf"data_batch_1.*{message}"):
        add(folder)
    assert nothing_was_added(raw)
