import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from genai_core.data.ingest.archives import ArchiveLimits, archive_stem, is_archive, unpack
from genai_core.data.raw.formats import IMAGE_EXTENSIONS

PIXELS = np.random.default_rng(0).integers(0, 256, 500, dtype=np.uint8).tobytes()


def make_zip(path: Path, members: dict[str, bytes], **options) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, options.get("compression"))
    return path


def make_tar(path: Path, members: dict[str, bytes | tarfile.TarInfo], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            entry = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def special(kind: bytes, name: str = "a/link.png", target: str = "/etc/passwd") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def unpack_images(archive: Path, folder: Path, limits: ArchiveLimits | None = None) -> None:
    unpack(archive, folder, lambda name: Path(name).suffix.lower() in IMAGE_EXTENSIONS, limits)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


MEMBERS = {"a/1.png": PIXELS, "a/b/2.JPG": PIXELS[:7], "3.gif": b"", "a/labels.csv": b"x", "__MACOSX/a/._1.png": b"y"}
IMAGES = {"a/1.png": PIXELS, "a/b/2.JPG": PIXELS[:7], "3.gif": b""}


@pytest.mark.parametrize(
    ("ending", "mode"), [("tar", "w"), ("tar.gz", "w:gz"), ("tgz", "w:gz"), ("tar.bz2", "w:bz2"), ("tar.xz", "w:xz")]
)
def test_only_images_of_a_tar_are_unpacked(ending, mode, tmp_path, out):
    unpack_images(make_tar(tmp_path / f"x.{ending}", MEMBERS, mode), out)
    assert files_in(out) == IMAGES


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_only_images_of_a_zip_are_unpacked(compression, tmp_path, out):
    unpack_images(make_zip(tmp_path / "x.zip", MEMBERS, compression=compression), out)
    assert files_in(out) == IMAGES


def test_names_that_begin_with_a_dot_and_a_slash(tmp_path, out):
    unpack_images(make_tar(tmp_path / "x.tar", {"./a/1.png": PIXELS, ".//b//2.png": b"2"}), out)
    assert files_in(out) == {"a/1.png": PIXELS, "b/2.png": b"2"}


BAD_NAMES = ["../1.png", "a/../../1.png", "/tmp/1.png", "..\\1.png", "C:/1.png", "C:\\1.png", "a/" + "x" * 300 + ".png"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_outside_the_folder_are_refused_before_anything_is_written(name, make, tmp_path, out):
    archive = make(tmp_path / f"x.{make.__name__[5:]}", {"good.png": PIXELS, name: b"bad"})
    with pytest.raises(ValueError, match=r"x\.(zip|tar): refused, nothing was unpacked: member"):
        unpack_images(archive, out)
    assert files_in(tmp_path / "out") == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", archive.name]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_special_files_in_a_tar_are_refused(kind, tmp_path, out):
    archive = make_tar(tmp_path / "x.tar", {"good.png": PIXELS, "link": special(kind)})
    with pytest.raises(ValueError, match=r"member a/link\.png is a link or a special file"):
        unpack_images(archive, out)
    assert files_in(out) == {}


def test_links_in_a_zip_are_refused(tmp_path, out):
    entry = zipfile.ZipInfo("link.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(ValueError, match=r"member link\.png is a link"):
        unpack_images(tmp_path / "x.zip", out)


def test_encrypted_members_are_refused(tmp_path, out):
    path = make_zip(tmp_path / "x.zip", {"1.png": PIXELS})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"1\.png is encrypted"):
        unpack_images(path, out)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_two_members_with_one_name_are_refused(make, tmp_path, out):
    path = make(tmp_path / f"x.{make.__name__[5:]}", {"a/1.png": PIXELS, "a//1.png": b"other"})
    with pytest.raises(ValueError, match="two members are named"):
        unpack_images(path, out)


def test_a_file_and_a_folder_with_one_name_are_an_error(tmp_path, out):
    path = make_tar(tmp_path / "x.tar", {"a.png": PIXELS, "a.png/1.png": b"other"})
    with pytest.raises(ValueError, match=r"x\.tar: damaged"):
        unpack_images(path, out)


class TestLimits:
    def test_members(self, tmp_path, out):
        path = make_zip(tmp_path / "x.zip", {f"{number}.png": b"" for number in range(4)})
        with pytest.raises(ValueError, match="more than 3 members"):
            unpack_images(path, out, ArchiveLimits(max_members=3))
        unpack_images(path, out, ArchiveLimits(max_members=4))

    @pytest.mark.parametrize("kind", ["zip", "tar"])
    def test_total_size(self, kind, tmp_path, out):
        make = {"zip": make_zip, "tar": make_tar}[kind]
        path = make(tmp_path / f"x.{kind}", {"1.png": PIXELS, "2.png": PIXELS})
        with pytest.raises(ValueError, match="unpack to more than 999"):
            unpack_images(path, out, ArchiveLimits(max_total_bytes=999))
        unpack_images(path, out, ArchiveLimits(max_total_bytes=1000))

    @pytest.mark.parametrize("kind", ["zip", "tar.gz"])
    def test_ratio(self, kind, tmp_path, out):
        # 80 MB of zeros in less than 100 kB.
        members = {"zeros.bmp": bytes(80_000_000)}
        if kind == "zip":
            path = make_zip(tmp_path / "x.zip", members, compression=zipfile.ZIP_DEFLATED)
        else:
            path = make_tar(tmp_path / "x.tar.gz", members, "w:gz")
        with pytest.raises(ValueError, match=r"unpack to more than [0-9,]+; if you trust it, unpack it yourself"):
            unpack_images(path, out)
        assert files_in(out) == {}

    def test_free_space(self, tmp_path, out, monkeypatch):
        path = make_zip(tmp_path / "x.zip", {"1.png": PIXELS})
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
        with pytest.raises(ValueError, match="more than the 10 bytes of free space"):
            unpack_images(path, out)

    def test_a_member_larger_than_its_stated_size_is_an_error(self, tmp_path, out):
        path = make_zip(tmp_path / "x.zip", {"1.png": bytes(5000)}, compression=zipfile.ZIP_DEFLATED)
        content = path.read_bytes()
        assert content.count((5000).to_bytes(4, "little")) == 2
        path.write_bytes(content.replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))
        with pytest.raises(ValueError, match=r"x\.zip: (damaged|refused)"):
            unpack_images(path, out)
        assert sum(map(len, files_in(out).values())) <= 50


def header(name: str, kind: bytes, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.GNU_FORMAT)


LONG_NAME = header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 900 << 10) + b"a" * (900 << 10)
PAX = header("pax", tarfile.XHDTYPE, 900 << 10) + b"921600 a=" + b"b" * (921600 - 10) + b"\n"
SPARSE_MAP = (
    header("pax", tarfile.XHDTYPE, 512)
    + b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n26 GNU.sparse.realsize=99\n".ljust(512, b"\0")
    + header("1.png", tarfile.REGTYPE, 4 << 20)
    + b"9999999\n"
    + (b"0" * 255 + b"\n") * (4 << 12)
)


class TestHeadersOfATar:
    @pytest.mark.parametrize(
        "headers",
        [
            header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 90 << 20) + bytes(512),
            header("././@LongLink", tarfile.GNUTYPE_LONGLINK, 90 << 20) + bytes(512),
            header("pax", tarfile.XHDTYPE, 90 << 20) + bytes(512),
            header("pax", tarfile.XGLTYPE, 90 << 20) + bytes(512),
            LONG_NAME * 2,  # each of them within the limit
            PAX + LONG_NAME,
            PAX + header("1.png", tarfile.REGTYPE, 0) + PAX,
            SPARSE_MAP,
        ],
        ids=["name", "link", "pax", "global", "chain", "mixed", "two members", "sparse"],
    )
    def test_large_ones_are_not_read_into_memory(self, headers, tmp_path, out):
        with gzip.open(tmp_path / "x.tar.gz", "wb", compresslevel=1) as file:
            file.write(headers + header("2.png", tarfile.REGTYPE, 0) + bytes(1024))
        with pytest.raises(ValueError, match=r"x\.tar\.gz: refused, nothing .* headers of more than 1,048,576 bytes"):
            unpack_images(tmp_path / "x.tar.gz", out)
        assert files_in(out) == {}

    @pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
    def test_long_names_of_any_number_of_images_are_read(self, form, tmp_path, out):
        names = [f"{'ü' * 90}/{'b' * 200}/{number}.png" for number in range(700)]
        with tarfile.open(tmp_path / "x.tar.gz", "w:gz", format=form, compresslevel=1) as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name))
        assert len(gzip.decompress((tmp_path / "x.tar.gz").read_bytes())) > 1 << 20
        unpack_images(tmp_path / "x.tar.gz", out)
        assert files_in(out) == dict.fromkeys(names, b"")

    def test_members_without_content_count_too(self, tmp_path, out):
        path = make_tar(tmp_path / "x.tar.gz", {f"{number}.png": b"" for number in range(300)}, "w:gz")
        with pytest.raises(ValueError, match="refused, nothing was unpacked: the archive unpacks to more than 100,000"):
            unpack_images(path, out, ArchiveLimits(max_ratio=1, ratio_free_bytes=100_000))
        unpack_images(path, out, ArchiveLimits(max_ratio=1, ratio_free_bytes=200_000))


def test_damaged_archives_and_other_files_are_named(tmp_path, out):
    good_tar = make_tar(tmp_path / "good.tar.gz", {"1.png": PIXELS * 100}, "w:gz").read_bytes()
    good_zip = make_zip(tmp_path / "good.zip", {"1.png": PIXELS}, compression=zipfile.ZIP_DEFLATED).read_bytes()
    flipped = bytearray(good_zip)
    flipped[len("1.png") + 60] ^= 0xFF
    for name, content in {
        "html.zip": b"<html>",
        "html.tar.gz": b"<html>",
        "empty.tar": b"",
        "cut.tar.gz": good_tar[: len(good_tar) // 2],
        "cut.zip": good_zip[: len(good_zip) // 2],
        "flipped.zip": bytes(flipped),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}: damaged"):
            unpack_images(tmp_path / name, out)


def test_names_of_archives():
    assert is_archive(Path("a/Photos.ZIP"))
    assert not is_archive(Path("photos.rar"))
    assert archive_stem(Path("a/photos.v2.tar.gz")) == "photos.v2"
    assert archive_stem(Path("Photos.ZIP")) == "Photos"


def test_real_archive(test_data, out):
    unpack_images(test_data / "pixel-tiles.zip", out)
    assert len(files_in(out)) == 3800
