import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genai_core.data.ingest.packing.pack_writer import PackWriter
from genai_core.data.raw.locations import Member, read_member
from genai_core.data.raw.packs import is_pack, read_pack


def tar(path: Path, *members: tarfile.TarInfo | tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as opened:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                opened.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                opened.addfile(info, io.BytesIO(member[1]))
    return path


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def contents(path: Path) -> dict[str, bytes]:
    """By our reader."""
    pack = read_pack(path)
    assert pack.damage is None
    extents = zip(pack.names, pack.offsets.tolist(), pack.sizes.tolist(), strict=True)
    return {name: read_member(Member(str(path), offset, size, name)) for name, offset, size in extents}


# Parts of any script, long enough for every kind of extended header, but none that is skipped or refused.
PART = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"], blacklist_characters="/."), min_size=1)
NAMES = st.lists(
    st.builds("{}/{}{}.png".format, PART, PART, st.sampled_from(["", "x" * 90, "y" * 200, "ü" * 120])),
    unique=True,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(names=NAMES, sizes=st.lists(st.integers(0, 1500), min_size=6, max_size=6), form=st.sampled_from([1, 2]))
def test_reads_what_the_standard_library_writes(names, sizes, form, tmp_path_factory):
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    members = {name: bytes([number + 1]) * size for number, (name, size) in enumerate(zip(names, sizes, strict=False))}
    tar(path, *members.items(), form=form)
    assert contents(path) == members


@settings(max_examples=40, deadline=None)
@given(names=NAMES, sizes=st.lists(st.integers(0, 1500), min_size=6, max_size=6))
def test_the_standard_library_reads_what_is_written(names, sizes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tar")
    members = {name: bytes([number + 1]) * size for number, (name, size) in enumerate(zip(names, sizes, strict=False))}
    writer = PackWriter(folder, first_number=0)
    for name, content in members.items():
        writer.add(name, content)
    files = writer.finish()
    assert len(files) == bool(members)
    for file in files:
        with tarfile.open(folder / file, "r:") as opened:
            assert {member.name: opened.extractfile(member).read() for member in opened} == members
            assert {(member.mtime, member.mode, member.uid, member.uname) for member in opened} == {(0, 0o644, 0, "")}
        assert contents(folder / file) == members


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_folders_and_other_files_are_not_images(form, tmp_path):
    path = tar(
        tmp_path / "x.tar",
        special("./", tarfile.DIRTYPE),
        special("./cat", tarfile.DIRTYPE),
        ("./cat/1.png", b"x" * 700),
        ("cat/1.txt", b"caption"),
        ("cat/1.json", b"{}"),
        ("cat/._1.png", b"litter"),
        ("__MACOSX/cat/1.png", b"litter"),
        (f"{'d' * 80}/{'c' * 80}.png", b"y"),
        form=form,
    )
    assert contents(path) == {"cat/1.png": b"x" * 700, f"{'d' * 80}/{'c' * 80}.png": b"y"}
    pack = read_pack(path)
    assert pack.skipped == {".json files": 1, "hidden files and folders": 2}
    assert (list(pack.texts.names), list(pack.texts.captions)) == (["cat/1.txt"], ["caption"])
    assert pack.rejected == ()


def test_members_outside_the_folder_are_faults_and_the_others_are_kept(tmp_path):
    path = tar(
        tmp_path / "x.tar",
        ("cat/1.png", b"x"),
        ("../../evil.png", b"x"),
        ("/etc/evil.png", b"x"),
        ("cat/new\nline.png", b"x"),
        special("cat/link.png", tarfile.SYMTYPE, "/etc/passwd"),
        special("cat/hard.png", tarfile.LNKTYPE, "cat/1.png"),
        special("cat/device.png", tarfile.CHRTYPE),
        special("cat/pipe.png", tarfile.FIFOTYPE),
        ("dog/2.png", b"y"),
    )
    assert contents(path) == {"cat/1.png": b"x", "dog/2.png": b"y"}
    assert [(file.source, file.reason, file.detail) for file in read_pack(path).rejected] == [
        ("../../evil.png", "bad_name", "points outside the folder"),
        ("/etc/evil.png", "bad_name", "points outside the folder"),
        ("cat/new\\nline.png", "bad_name", "not UTF-8, or control characters"),
        ("cat/link.png", "bad_pack", "is a link"),
        ("cat/hard.png", "bad_pack", "is a link"),
        ("cat/device.png", "bad_pack", "is a device"),
        ("cat/pipe.png", "bad_pack", "is a pipe"),
    ]


@pytest.fixture
def whole(tmp_path):
    return tar(tmp_path / "x.tar", *((f"cat/{number}.png", b"x" * 600) for number in range(5))).read_bytes()


@pytest.mark.parametrize(
    ("cut", "damage"),
    [(0, "truncated at byte 0"), (1536, "truncated"), (1600, "truncated"), (3000, "in a member of 600")],
)
def test_a_truncated_tar_is_damaged_even_between_two_members(cut, damage, whole, tmp_path):
    (tmp_path / "x.tar").write_bytes(whole[:cut])
    assert damage in read_pack(tmp_path / "x.tar").damage


@settings(max_examples=150, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 5 * 1536 - 1), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes_are_not_fatal_and_detected_in_headers(flips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tar")
    content = bytearray(tar(folder / "x.tar", *((f"cat/{n}.png", b"x" * 600) for n in range(5))).read_bytes())
    for position, change in flips[:1]:
        content[position] ^= change
    (folder / "x.tar").write_bytes(content)
    pack = read_pack(folder / "x.tar")
    in_header = flips[0][0] % 1536 < 512
    assert (pack.damage is not None) == in_header or pack.names == tuple(f"cat/{n}.png" for n in range(5))
    for position, change in flips[1:]:
        content[position] ^= change
    (folder / "x.tar").write_bytes(content)
    read_pack(folder / "x.tar")


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=3000))
def test_a_file_that_is_not_a_tar(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    path.write_bytes(content)
    pack = read_pack(path)
    assert pack.damage is not None or content[:512] == bytes(512)


def test_false_sizes(tmp_path):
    header = bytearray(tar(tmp_path / "x.tar", ("1.png", b"")).read_bytes()[:512])
    for size in (b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"12345x78901\0"):
        header[124:136] = size
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
        (tmp_path / "x.tar").write_bytes(header + bytes(1024))
        assert read_pack(tmp_path / "x.tar").damage
        header[156:157] = b"x"  # an extended header of that size
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
        (tmp_path / "x.tar").write_bytes(header + bytes(1024))
        assert read_pack(tmp_path / "x.tar").damage
        header[156:157] = b"0"


def test_size_in_binary_is_read(tmp_path):
    header = bytearray(tar(tmp_path / "x.tar", ("1.png", b"")).read_bytes()[:512])
    header[124:136] = b"\x80" + (700).to_bytes(11, "big")
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
    (tmp_path / "x.tar").write_bytes(bytes(header) + b"x" * 700 + bytes(324 + 1024))
    assert contents(tmp_path / "x.tar") == {"1.png": b"x" * 700}


def test_sparse_files_are_refused(tmp_path):
    info = tarfile.TarInfo("1.png")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    assert "a sparse file" in read_pack(tar(tmp_path / "x.tar", info)).damage


def test_packs_are_tars_next_to_the_classes():
    assert is_pack("set/0000-0123456789abcdef.tar")
    assert is_pack("set/by hand.TAR")
    assert not is_pack("x.tar")
    assert not is_pack("set/cat/x.tar")
    assert not is_pack("set/x.tar.gz")


def test_packs_are_bounded_and_named_by_their_content(tmp_path, monkeypatch):
    monkeypatch.setattr("genai_core.data.ingest.packing.pack_writer.MAX_PACK_BYTES", 10_000)
    images = np.random.default_rng(0).integers(0, 256, (30, 900), dtype=np.uint8)
    packs = []
    for name in ("a", "b"):
        writer = PackWriter(tmp_path / name, first_number=7)
        for number, image in enumerate(images):
            (tmp_path / "image").write_bytes(image.tobytes())
            writer.add(f"cat/{number}.png", tmp_path / "image" if name == "a" else image.tobytes())
        packs.append(writer.finish())
    assert packs[0] == packs[1]
    assert [pack[:5] for pack in packs[0]] == [
        f"{number:04d}-" for number in range(7, 13)
    ]  # five images of 1,536 bytes each
    assert max(path.stat().st_size for path in (tmp_path / "a").iterdir()) <= 10_000
    found = {name: content for pack in packs[0] for name, content in contents(tmp_path / "a" / pack).items()}
    assert found == {f"cat/{number}.png": image.tobytes() for number, image in enumerate(images)}
