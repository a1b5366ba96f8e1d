"""Files that become other images while they are added, and files that are skipped with a reason."""

import io
import sys
import zipfile

import av
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from genai_core.data.ingest.choices import Choices
from tests.data.ingest.conftest import nothing_was_added
from tests.packed import files_in

ANIMATIONS = {"gif": {}, "png": {}, "webp": {"lossless": True}, "avif": {"quality": 100}}


def heic(pixels, orientation=1):
    """A photograph as a phone saves it, with a place in its EXIF data."""
    height, width = pixels.shape[:2]
    exif = Image.Exif()
    exif[274] = orientation
    exif.get_ifd(0x8825)[1] = "N"
    file = io.BytesIO()
    image = pillow_heif.from_bytes(mode="RGB", size=(width, height), data=pixels.tobytes())
    image.save(file, quality=-1, exif=exif.tobytes())  # lossless but for the colours
    return file.getvalue()


def video(path, frames, form=None):
    """Write frames (N, H, W, 3), each of one grey value, as a video of ten frames a second."""
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def halves():
    """Pixels (48, 64, 3): the upper half light, the lower half dark."""
    return np.repeat([200, 20], 24).astype(np.uint8)[:, None, None].repeat(64, axis=1).repeat(3, axis=2)


@pytest.fixture
def greys():
    """Frames (7, 48, 64, 3) of growing grey values."""
    return np.full((7, 48, 64, 3), (np.arange(7) * 30)[:, None, None, None], dtype=np.uint8)


@pytest.fixture
def class_folders(tmp_path, halves):
    """A folder of two classes, with a JPEG each."""
    for name in ("hat", "shoe"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(halves).save(tmp_path / "photos" / name / "1.jpg")
    return tmp_path / "photos"


@pytest.mark.parametrize("extension", ["heic", "HEIF"])
def test_heic_becomes_png(extension, halves, class_folders, add, raw, images_in):
    (class_folders / "hat" / f"2.{extension}").write_bytes(heic(halves))
    added = add(class_folders)
    assert added.classes == {"hat": 2, "shoe": 1}
    found = images_in(raw / "set")["hat/2.png"]
    assert np.abs(found.astype(int) - halves).max() <= 2
    assert f"1 image converted to PNG from .{extension.lower()} files" in added.notes
    assert b"GPS" not in files_in(raw / "set")["hat/2.png"]
    assert b"eXIf" not in files_in(raw / "set")["hat/2.png"]


def test_a_photograph_on_its_side_becomes_upright(halves, class_folders, read):
    (class_folders / "hat" / "2.heic").write_bytes(heic(halves, orientation=6))
    turned = read(class_folders)[1]["2.png"].content
    assert turned.shape == (64, 48, 3)
    assert turned[:, :20].mean() < 30  # the lower half is now left
    assert turned[:, 30:].mean() > 190


def test_heic_in_a_zip(halves, tmp_path, add):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("hat/1.heic", heic(halves))
        archive.writestr("shoe/1.heic", heic(halves[::-1].copy()))
    assert add(tmp_path / "photos.zip").classes == {"hat": 1, "shoe": 1}


@pytest.mark.parametrize("extension", ANIMATIONS)
def test_every_third_frame_of_an_animation(extension, greys, class_folders, read):
    images = [Image.fromarray(frame) for frame in greys]
    path = class_folders / "hat" / f"wave.{extension}"
    images[0].save(path, save_all=True, append_images=images[1:], **ANIMATIONS[extension])
    items = read(class_folders, every=3)[1]
    frames = {name: item for name, item in items.items() if name.startswith("wave")}
    assert list(frames) == ["wave-000000.png", "wave-000003.png", "wave-000006.png"]
    assert {item.label for item in frames.values()} == {"hat"}
    assert (
        np.abs([item.content.mean() - 30 * index for item, index in zip(frames.values(), (0, 3, 6), strict=True)]).max()
        < 2
    )
    assert read(class_folders)[1][f"wave.{extension}"].content == path  # without --every it stays a file


@pytest.mark.parametrize("extension", ["mp4", "mov", "avi", "mkv"])
def test_every_third_frame_of_a_video(extension, greys, class_folders, read):
    video(class_folders / "hat" / f"clip.{extension}", greys)
    reading, items = read(class_folders, every=3)
    frames = {name: item.content for name, item in items.items() if name.startswith("clip")}
    assert list(frames) == ["clip-000000.png", "clip-000003.png", "clip-000006.png"]
    assert (
        np.abs([pixels.mean() - 30 * index for pixels, index in zip(frames.values(), (0, 3, 6), strict=True)]).max() < 3
    )
    assert f"3 images converted to PNG from .{extension} files" in reading.notes


def test_a_video_needs_every(greys, class_folders, add):
    video(class_folders / "hat" / "clip.mp4", greys)
    added = add(class_folders)
    assert added.skipped == {".mp4 files": 1}
    assert "1 .mp4 file skipped: videos; to take every 30th frame: --every 30" in added.notes


def test_files_that_cannot_be_converted_are_rejected(halves, class_folders, add):
    good = heic(halves)
    for name, content in {"2.heic": good[: len(good) // 2], "3.heic": b"<html>", "4.mp4": b"<html>"}.items():
        (class_folders / "hat" / name).write_bytes(content)
    added = add(class_folders, choices=Choices(every=1), max_rejected_share=0.7)
    assert sorted((file.source, file.reason) for file in added.rejected) == [
        ("2.heic", "corrupt"),
        ("3.heic", "corrupt"),
        ("4.mp4", "corrupt"),
    ]
    assert added.added_images == 2


@pytest.mark.parametrize(
    ("extension", "module", "extra"),
    [("heic", "pillow_heif", "heif"), ("dcm", "pydicom", "dicom"), ("mp4", "av", "video")],
)
def test_without_the_extra_the_files_are_skipped_and_the_command_is_named(
    extension, module, extra, class_folders, add, monkeypatch
):
    for number in range(2):
        (class_folders / "hat" / f"x{number}.{extension}").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    added = add(class_folders, choices=Choices(every=1))
    assert added.skipped == {f".{extension} files": 2}
    assert added.added_images == 2
    [note] = [note for note in added.notes if " skipped: " in note]
    assert note.startswith(f"2 .{extension} files skipped: ")
    assert note.endswith(f"install it: .venv/bin/pip install -e '.[{extra}]'")


def test_a_folder_of_such_files_alone_names_the_command(tmp_path, add, raw, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.heic").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match=r"contains no images\n1 \.heic file skipped: .*\[heif\]"):
        add(tmp_path / "photos")
    assert nothing_was_added(raw)


@pytest.mark.parametrize(
    ("name", "advice"),
    [("a.psd", "Photoshop"), ("a.svg", "rsvg-convert"), ("a.fits", "astropy.visualization"), ("a.cr2", "develop")],
)
def test_refused_kinds_are_named_with_what_to_do(name, advice, class_folders, add):
    (class_folders / name).write_bytes(b"x")
    added = add(class_folders)
    assert added.skipped == {f"{name[1:]} files": 1}
    [note] = [note for note in added.notes if f"1 {name[1:]} file skipped" in note]
    assert advice in note


def test_a_folder_of_refused_kinds_alone_says_what_to_do(tmp_path, add, raw):
    (tmp_path / "drawings").mkdir()
    (tmp_path / "drawings" / "1.svg").write_bytes(b"<svg/>")
    with pytest.raises(
        ValueError, match=r"contains no image files \(\.svg files 1\); .*\n1 \.svg file skipped: drawings without"
    ):
        add(tmp_path / "drawings")
    assert nothing_was_added(raw)


def test_refused_kinds_in_a_zip_are_counted(halves, tmp_path, add):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("hat/1.heic", heic(halves))
        archive.writestr("shoe/1.heic", heic(halves[::-1].copy()))
        archive.writestr("shoe/2.psd", b"8BPS")
    added = add(tmp_path / "photos.zip")
    assert added.skipped == {".psd files": 1}
    assert any(note.startswith("1 .psd file skipped: Photoshop") for note in added.notes)


def test_a_single_video_is_a_source(greys, tmp_path, add, read):
    items = read(video(tmp_path / "clip.mp4", greys), every=2)[1]
    assert list(items) == [f"clip-{number:06d}.png" for number in (0, 2, 4, 6)]
    assert add(tmp_path / "clip.mp4", None, choices=Choices(every=2)).names == ("clip",)
