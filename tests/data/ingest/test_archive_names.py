"""For any names of an archive's members: everything is written into the folder, or nothing is."""

import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genai_core.data.ingest.archives import unpack

# Special parts of paths, between ordinary and arbitrary ones.
PARTS = st.one_of(
    st.sampled_from(["..", ".", "", "a", "b.png", "~", "C:", "...", "..png", " ", "\n", "con", ".git", "x" * 256]),
    st.text(st.characters(exclude_characters="\0"), max_size=8),
)
NAMES = st.builds(
    lambda start, parts, end: start + "/".join(parts) + end,
    st.sampled_from(["", "/", "./", "../", "\\", "//"]),
    st.lists(PARTS, min_size=1, max_size=4),
    st.sampled_from(["", ".png", "/1.png", "\\1.png"]),
)


def make_zip(path: Path, names: list[str]) -> bool:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            try:
                archive.writestr(entry, b"content")
            except UnicodeEncodeError:
                return False
    return True


def make_tar(path: Path, names: list[str]) -> bool:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, errors="surrogatepass") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 7
            try:
                archive.addfile(entry, io.BytesIO(b"content"))
            except UnicodeEncodeError:
                return False
    return True


def unpack_or_say(archive: Path, out: Path) -> str | None:
    try:
        unpack(archive, out, lambda name: name.endswith(".png"))
    except ValueError as error:
        return str(error)
    return None


def everything_in(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=150, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from([make_zip, make_tar]))
def test_nothing_is_written_outside_whatever_the_names(names, make):
    with tempfile.TemporaryDirectory() as temporary:
        box = Path(temporary)
        out = box / "deep" / "out"
        out.mkdir(parents=True)
        archive = box / f"x.{make.__name__[5:]}"
        made = make(archive, names)
        said = unpack_or_say(archive, out)
        assert said is None or archive.name in said
        outside = [path for path in everything_in(box) if not path.is_relative_to("deep/out")]
        assert outside == sorted([Path("deep"), Path(archive.name)])
        for path in out.rglob("*"):
            assert not path.is_symlink()
            assert not path.is_file() or path.read_bytes() == b"content"
        if made and any(".." in name.split("/") or name.startswith("/") for name in names):
            assert said is not None
            assert everything_in(out) == []


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["zip", "tar", "tar.gz"]), st.integers(0, 1000))
def test_damage_raises_only_value_errors(noise, ending, place):
    with tempfile.TemporaryDirectory() as temporary:
        box = Path(temporary)
        archive = box / f"x.{ending}"
        if ending == "zip":
            make_zip(archive, ["a/1.png", "a/2.png"])
        else:
            with tarfile.open(archive, "w:gz" if "gz" in ending else "w") as opened:
                entry = tarfile.TarInfo("a/1.png")
                entry.size = 7
                opened.addfile(entry, io.BytesIO(b"content"))
        content = bytearray(archive.read_bytes())
        place %= len(content)
        content[place : place + len(noise)] = noise
        archive.write_bytes(content)
        out = box / "out"
        out.mkdir()
        said = unpack_or_say(archive, out)
        assert said is None or archive.name in said
        assert {path.name for path in box.iterdir()} == {"out", archive.name}
