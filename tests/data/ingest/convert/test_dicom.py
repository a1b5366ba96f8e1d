"""DICOM files written by pydicom, as viewers show them."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EncapsulatedPDFStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from tests.data.ingest.conftest import nothing_was_added
from tests.packed import files_in

PATIENT = b"Doe^Jane"


def write(path, pixels, photometric="MONOCHROME2", bits=8, compress=False, **values):
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.PatientName = PATIENT.decode()
    if pixels is not None:
        dataset.set_pixel_data(pixels, photometric, bits)
    for name, value in values.items():
        setattr(dataset, name, value)
    if compress:
        dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def shown(tmp_path, read):
    """Write a file and return the pixels that become of it."""

    def make(pixels, *arguments, **values):
        write(tmp_path / "scans" / "1.dcm", pixels, *arguments, **values)
        [item] = read(tmp_path / "scans")[1].values()
        assert item.path == "1.png"
        return item.content

    return make


RAMP = np.arange(0, 4096, 256, dtype=np.uint16).reshape(4, 4)


def test_eight_bits_stay_as_they_are(shown):
    pixels = np.arange(100, 116, dtype=np.uint8).reshape(4, 4)
    assert (shown(pixels) == pixels).all()


def test_monochrome1_is_inverted(shown):
    pixels = np.arange(100, 116, dtype=np.uint8).reshape(4, 4)
    assert (shown(pixels, "MONOCHROME1") == 255 - pixels).all()


def test_window_after_the_rescaling(shown):
    # Hounsfield units from -1024 to 2816; DICOM PS3.3 C.11.2.1.2: ((x - (c - 0.5)) / (w - 1) + 0.5) * 255
    found = shown(RAMP, bits=12, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=[40, 500], WindowWidth=[400, 9])
    expected = np.clip((RAMP - 1024.0 - 39.5) / 399 + 0.5, 0, 1) * 255
    assert (found == np.round(expected)).all()
    assert sorted(set(found.ravel().tolist())) == [0, 102, 255]


@pytest.mark.parametrize(
    ("function", "expected"),
    [("LINEAR_EXACT", [0, 0, 128, 255]), ("SIGMOID", [round(255 / (1 + np.exp(4 - 2 * n))) for n in range(4)])],
)
def test_other_functions_of_a_window(function, expected, shown):
    # A window of 2 around 2; exactly at its centre half of the range, and the sigmoid's slope is 4 / width.
    pixels = np.tile(np.arange(4, dtype=np.uint16), (4, 1))
    found = shown(pixels, bits=12, WindowCenter=2, WindowWidth=2, VOILUTFunction=function)
    assert found[0].tolist() == expected


def test_without_a_window_the_range_of_the_values_is_shown(shown):
    pixels = RAMP.copy()
    pixels[0, 0] = 9  # outside the picture
    found = shown(pixels, bits=12, PixelPaddingValue=9)
    assert (found.ravel()[1:] == np.round((RAMP.ravel()[1:] - 256) / (3840 - 256) * 255)).all()
    assert found[0, 0] == 0


def test_colour_and_compression(shown, pixels):
    [image] = pixels(1, 3)
    assert (shown(image, "RGB", compress=True) == image).all()


def test_frames_with_a_window_for_all(tmp_path, read):
    pixels = np.stack([np.full((4, 4), 100 * number, np.uint16) for number in range(5)])
    window = Dataset()
    window.FrameVOILUTSequence = Sequence([Dataset()])
    window.FrameVOILUTSequence[0].WindowCenter = 200
    window.FrameVOILUTSequence[0].WindowWidth = 401
    path = write(tmp_path / "hat" / "a.dcm", pixels, bits=12, SharedFunctionalGroupsSequence=Sequence([window]))
    reading, items = read(path.parent)
    assert list(items) == [f"a-{number:06d}.png" for number in range(5)]
    assert [int(item.content[0, 0]) for item in items.values()] == [0, 64, 128, 192, 255]
    assert reading.notes[-1] == "5 images converted to PNG from .dcm files"
    assert list(read(path.parent, every=2)[1]) == ["a-000000.png", "a-000002.png", "a-000004.png"]


def test_personal_data_is_not_copied_and_text_in_the_picture_is_said(tmp_path, add, raw, pixels):
    source = write(tmp_path / "scans" / "1.dcm", pixels(1)[0], BurnedInAnnotation="YES")
    assert PATIENT in source.read_bytes()
    added = add(source.parent)
    [content] = files_in(raw / "set").values()
    assert content.startswith(b"\x89PNG")
    assert PATIENT not in content
    assert added.notes[-1].startswith("1 file: DICOM marked as having text in the picture")


def test_files_without_readable_pixels_are_rejected(tmp_path, add, raw, pixels):
    folder = tmp_path / "scans"
    good = write(folder / "0.dcm", pixels(1)[0]).read_bytes()
    write(folder / "1.dcm", None, SOPClassUID=EncapsulatedPDFStorage)
    (folder / "2.dcm").write_bytes(good[:-20])
    (folder / "3.dcm").write_bytes(b"<html>")
    (folder / "4.dcm").write_bytes(good[:200])
    with pytest.raises(ValueError, match=r"4 of 5 images or labels were rejected"):
        add(folder)
    assert nothing_was_added(raw)
    added = add(folder, max_rejected_share=0.9)
    assert {file.source: file.reason for file in added.rejected} == {
        "1.dcm": "no_image",
        "2.dcm": "corrupt",
        "3.dcm": "corrupt",
        "4.dcm": "no_image",
    }
    assert "Encapsulated PDF Storage" in added.rejected[0].detail


def test_pydicom_agrees_on_the_window(tmp_path, read):
    path = write(tmp_path / "scans" / "1.dcm", RAMP, bits=12, WindowCenter=1000, WindowWidth=1500)
    dataset = pydicom.dcmread(path)
    theirs = pydicom.pixels.apply_voi_lut(dataset.pixel_array, dataset) / 4095 * 255
    [item] = read(path.parent)[1].values()
    assert np.abs(item.content - theirs).max() <= 0.5
