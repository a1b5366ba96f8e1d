"""Sources that cannot be added as they are: a clear message, and nothing is half-added."""

import io
import zipfile

import pytest

from genai_core.data.ingest.choices import Choices
from tests.data.ingest.conftest import nothing_was_added


class TestThroughAdd:
    """Bad sources, and sizes."""

    def test_an_archive_in_an_archive(self, tmp_path, add, raw):
        with zipfile.ZipFile(tmp_path / "outer.zip", "w") as outer:
            outer.writestr("inner.zip", b"PK")
            outer.writestr("more.tar.gz", b"x")
        with pytest.raises(ValueError, match=r"no images but 2 archives, first inner\.zip; .*unpack it yourself"):
            add(tmp_path / "outer.zip")
        assert nothing_was_added(raw)

    def test_files_that_are_not_taken_out_of_an_archive_are_counted(self, tmp_path, root, images, add):
        names = images("hat", 2) + images("shoe", 2)
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for n, name in enumerate(names):
                folder = "hat" if n < 2 else "shoe"
                archive.write(root / folder / name, f"{folder}/{name}")
            archive.writestr("inner.zip", b"PK")
            archive.writestr("hat/notes.docx", b"x")
        added = add(tmp_path / "x.zip")
        assert (added.classes, added.skipped) == ({"hat": 2, "shoe": 2}, {".docx files": 1, ".zip files": 1})

    def test_a_password(self, tmp_path, add, raw):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("hat/1.png", b"x")
        encrypted = bytearray(content.getvalue())
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags of the member
            encrypted[encrypted.index(signature) + offset] |= 1
        (tmp_path / "x.zip").write_bytes(encrypted)
        with pytest.raises(ValueError, match=r"member hat/1\.png is encrypted; unpack it with its password"):
            add(tmp_path / "x.zip")
        assert nothing_was_added(raw)

    def test_a_file_that_disappears(self, root, images, add, raw):
        images("hat", 3)
        paths = sorted((root / "hat").iterdir())

        def remove_one(done, _total):
            if done == 2:
                paths[2].unlink()

        with pytest.raises(ValueError, match=r"\.png disappeared while .*set was read; nothing was added; try again"):
            add(root, on_added=remove_one)
        assert nothing_was_added(raw)

    def test_a_file_that_changes(self, root, images, add, raw, monkeypatch):
        from genai_core.data.ingest.packing import pack_writer

        images("hat", 1)
        [path] = (root / "hat").iterdir()
        real = pack_writer.member_header

        def change(name, size):
            path.write_bytes(path.read_bytes() + b"more")
            return real(name, size)

        monkeypatch.setattr(pack_writer, "member_header", change)
        with pytest.raises(ValueError, match="changed while it was read; nothing was added"):
            add(root)
        assert nothing_was_added(raw)

    def test_thousands_of_classes(self, root, add):
        for n in range(3_000):
            (root / f"class-{n:05d}").mkdir(parents=True)
            (root / f"class-{n:05d}" / "1.png").write_bytes(b"%d" % n)
        added = add(root, choices=Choices(layout="class-folders"))
        assert (len(added.classes), added.added_images) == (3_000, 3_000)

    def test_a_message_names_the_archive_and_not_where_it_was_unpacked(self, tmp_path, root, images, add):
        names = images("", 4)
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name in names:
                archive.write(root / name, name)
            archive.writestr("labels.csv", "file,label\nother.png,hat\n")
        with pytest.raises(ValueError, match=r"x\.zip: labels\.csv: none of its 1 rows names") as error:
            add(tmp_path / "x.zip")
        assert ".raw.new" not in str(error.value)
