import io
import json
import shutil
import tarfile

import pytest

from genai_core.data.ingest.choices import Choices
from genai_core.data.ingest.packing.png import encode_png
from tests.data.ingest.conftest import nothing_was_added
from tests.packed import files_in


def write_tar(path, members, mode="w"):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture
def images(pixels):
    return [encode_png(image) for image in pixels(40)]


def samples(images, ending, content):
    members = {}
    for number, image in enumerate(images):
        members[f"{number:04d}.png"] = image
        members[f"{number:04d}{ending}"] = content(number)
    return members


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".cls", lambda number: b"%d\n" % (number % 2)),
        (".txt", lambda number: b"%d" % (number % 2)),
        (".json", lambda number: json.dumps({"caption": "a hat", "label": number % 2}).encode()),
        (".json", lambda number: json.dumps(number % 2).encode()),
    ],
)
def test_label_next_to_the_image(ending, content, mode, images, tmp_path, add, raw):
    path = write_tar(tmp_path / ("x.tar.gz" if "gz" in mode else "x.tar"), samples(images, ending, content), mode)
    assert add(path).classes == {"0": 20, "1": 20}
    assert files_in(raw / "set")["1/0003.png"] == images[3]


@pytest.mark.parametrize(
    ("text", "labels", "captions"),
    [
        (lambda number: b"hat" if number % 2 else b"shoe", {"hat": 20, "shoe": 20}, 0),
        (lambda number: b"a photograph of hat number %d" % number, {}, 40),
    ],
)
def test_masks_beside_the_images_do_not_hide_the_texts(text, labels, captions, images, tmp_path, add):
    """.txt is a label or a caption by what it says, .seg.png is a mask by its name, in one tar or in shards."""
    members = samples(images, ".txt", text) | {f"{n:04d}.seg.png": image for n, image in enumerate(images)}
    added = add(write_tar(tmp_path / "x.tar", members))
    assert (added.classes, added.captioned_images) == (labels, captions)
    assert added.skipped == {"further images of a sample": 40}


def test_shards_of_two_splits(images, tmp_path, add, read, raw):
    for number, name in enumerate(("train-0000", "train-0001", "val-0000")):
        write_tar(
            tmp_path / "web" / f"{name}.tar", samples(images[number * 3 : number * 3 + 3], ".cls", lambda _: b"hat")
        )
    added = add(tmp_path / "web", choices=Choices(split=True))
    assert added.splits == {"train": 6, "test": 3}
    assert read(tmp_path / "web")[0].understood.split == "names of the shards"
    assert "hat/train-0001/0000.png" in files_in(raw / "set.train")


def test_captions_are_not_labels(images, tmp_path, add, read, raw):
    caption = b"a long sentence about a hat that lies on a table"
    path = write_tar(tmp_path / "x.tar", samples(images, ".txt", lambda _: caption))
    added = add(path)
    assert added.classes == {}
    assert "no sample has a label" in added.notes[0]
    assert added.rejected == ()
    reading, items = read(path)
    assert {item.captions for item in items.values()} == {(caption.decode(),)}
    assert reading.understood.captions == ".txt (1 different in 40)"


def test_short_texts_that_all_differ_are_captions(images, tmp_path, read):
    reading, items = read(write_tar(tmp_path / "x.tar", samples(images, ".txt", lambda number: b"hat %d" % number)))
    assert items["0003.png"].captions == ("hat 3",)
    assert items["0003.png"].label is None
    assert (reading.understood.labels, reading.understood.captions) == ("", ".txt (40 different in 40)")


def test_label_and_captions_of_one_sample(images, tmp_path, read):
    members = samples(images, ".cls", lambda number: b"%d" % (number % 2))
    for number in range(40):
        members[f"{number:04d}.json"] = json.dumps(
            {"caption": f"hat {number}", "url": "https://x", "width": 6}
        ).encode()
        members[f"{number:04d}.txt"] = b"a hat\nthe hat %d" % number
    reading, items = read(write_tar(tmp_path / "x.tar", members))
    assert (items["0003.png"].label, items["0003.png"].captions) == ("1", ("hat 3", "a hat", "the hat 3"))
    assert reading.understood.labels == ".cls or label in .json"
    assert reading.understood.captions == "caption in .json and .txt (40 different in 40)"


@pytest.mark.parametrize("is_folder", [False, True])
def test_captions_in_shards_make_no_classes(is_folder, images, tmp_path, add, raw):
    for number in range(3):
        members = {}
        for index, image in enumerate(images[number * 5 : number * 5 + 5]):
            key = f"{number:05d}{index:04d}"
            members |= {f"{key}.png": image, f"{key}.txt": b"thing %d %d" % (number, index)}
        path = write_tar(tmp_path / "web" / f"{number:05d}.tar", members)
        if is_folder:  # as img2dataset writes it
            shutil.unpack_archive(path, tmp_path / "web" / f"{number:05d}")
            path.unlink()
    assert add(tmp_path / "web").classes == {}
    assert list(files_in(raw / "set"))[:3] == ["00000-000000000.png", "00000-000000000.txt", "00000-000000001.png"]


def test_faulty_samples_are_skipped(images, tmp_path, add, raw):
    members = samples(images, ".json", lambda _: b'{"class": "hat"}')
    members["0001.json"] = b"{"
    members["0002.json"] = b"{}"
    members["0003.seg.png"] = images[0]  # a mask: 0003.png is meant
    members["0004.jpg"] = images[0]
    added = add(write_tar(tmp_path / "x.tar", members), max_rejected_share=0.1)
    assert {(file.source, file.reason) for file in added.rejected} == {
        ("0001", "bad_label"),
        ("0002", "no_label"),
        ("0004", "several_images"),
    }
    assert added.added_images == 37
    with pytest.raises(ValueError, match="3 of 40"):
        add(tmp_path / "x.tar", "again")


def write_folder(folder, members):
    folder.mkdir()
    for name, content in members.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("stems", [["cat", "cat.close-up", "dog"], [f"photo.v{number}" for number in range(12)]])
@pytest.mark.parametrize("ending", [".txt", ".json"])
def test_names_with_dots_keep_their_own_texts(ending, stems, images, tmp_path, read):
    members = {}
    for stem, image in zip(stems, images, strict=False):
        caption = f"a picture of {stem}"
        members[f"{stem}.png"] = image
        members[stem + ending] = (caption if ending == ".txt" else json.dumps({"caption": caption})).encode()
    items = read(write_folder(tmp_path / "web", members))[1]
    assert {path: item.captions for path, item in items.items()} == {
        f"{stem}.png": (f"a picture of {stem}",) for stem in stems
    }


def test_pictures_of_a_plain_folder_are_all_kept(images, tmp_path, read):
    members = dict(zip(["cat.png", "cat.close-up.png", "dog.png"], images, strict=False))
    items = read(write_folder(tmp_path / "web", members | {"cat.txt": b"a cat", "dog.txt": b"a dog"}))[1]
    assert {path: item.captions for path, item in items.items()} == {
        "cat.close-up.png": (),
        "cat.png": ("a cat",),
        "dog.png": ("a dog",),
    }


def test_further_images_of_a_sample_are_counted(images, tmp_path, add):
    members = samples(images, ".cls", lambda _: b"hat") | {"0003.seg.png": images[0]}
    assert add(write_tar(tmp_path / "x.tar", members)).skipped == {"further images of a sample": 1}


def test_a_chosen_layout_is_followed(images, tmp_path, add):
    path = write_tar(tmp_path / "x.tar", samples(images[:4], ".cls", lambda _: b"hat"))
    added = add(path, choices=Choices("flat"))
    assert (added.classes, added.understood.layout) == ({}, "images without class folders")


def test_class_folders_with_text_files_stay_class_folders(images, tmp_path, add):
    members = {f"{name}/1.{ending}": images[0] for name in ("hat", "shoe") for ending in ("png", "txt")}
    assert add(write_tar(tmp_path / "x.tar", members)).classes == {"hat": 1, "shoe": 1}


def test_members_outside_the_folder_are_refused(images, tmp_path, add, raw):
    with pytest.raises(ValueError, match="points outside"):
        add(write_tar(tmp_path / "x.tar", {"1.png": images[0], "1.cls": b"1", "../2.cls": b"1"}))
    assert nothing_was_added(raw)


class TestTablesBesideSamples:
    @pytest.fixture
    def folder(self, tmp_path, save_images):
        """Four images, each with LabelMe's JSON, and labels.csv."""
        names = save_images(tmp_path / "web", 4)
        for name in names:
            shapes = {"version": "5.0", "shapes": [], "imagePath": name}
            (tmp_path / "web" / name).with_suffix(".json").write_text(json.dumps(shapes))
        rows = [f"{name},{'hat' if number % 2 else 'bag'},at {number}\n" for number, name in enumerate(names)]
        (tmp_path / "web" / "labels.csv").write_text("file,label,text\n" + "".join(rows))
        return tmp_path / "web"

    def test_a_table_that_names_the_images_counts(self, folder, add):
        added = add(folder)
        assert (added.classes, added.skipped) == ({"bag": 2, "hat": 2}, {".json files": 4})

    def test_options_for_tables_count(self, folder, add):
        (folder / "labels.csv").rename(folder / "things.csv")
        assert add(folder, choices=Choices(caption_column="label")).captioned_images == 4

    def test_other_tables_are_counted(self, folder, add):
        (folder / "labels.csv").write_text("size,count\n3,4\n")
        added = add(folder)
        assert (added.classes, added.skipped) == ({}, {".csv files": 1})
        assert any("1 table, first labels.csv, left out" in note and "--layout table" in note for note in added.notes)


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".txt", lambda number: f"{number % 2} 0.5 0.5 0.2 0.{number}\n3 0.1 .1 0.2 1e-05".encode()),  # YOLO
        (".json", lambda _: b'{"version": "5.0.1", "flags": {}, "shapes": [{"label": "cat", "points": [[1, 1]]}]}'),
    ],
)
def test_boxes_are_no_captions_and_no_labels(ending, content, images, tmp_path, read):
    """A class number, and where an object is; or the outlines of objects."""
    reading, items = read(write_tar(tmp_path / "x.tar", samples(images, ending, content)))
    assert {(item.label, item.captions) for item in items.values()} == {(None, ())}
    assert (reading.understood.labels, reading.understood.captions) == ("", "")
    assert "note: 40 files with boxes of objects (YOLO, LabelMe): they are no classes of the images" in reading.notes


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (("n01440764", "n01443537"), {"n01440764": 3, "n01443537": 3}),  # ImageNet
        (("cat", "dog"), {"cat": 3, "dog": 3}),
        (("train-0000", "train-0001"), {}),
        (("00000", "00001"), {}),
        (("sample-0003", "sample-0077"), {}),  # some of the shards
        (("00003", "00077"), {}),
        (("train-0003", "train-0077", "val-0001"), {}),
    ],
)
def test_tars_of_images_alone_are_classes_or_shards_by_their_names(names, classes, images, tmp_path, add):
    for number, name in enumerate(names):
        members = {f"{name}-{n}.png": image for n, image in enumerate(images[3 * number : 3 * number + 3])}
        write_tar(tmp_path / "tars" / f"{name}.tar", members)
    assert add(tmp_path / "tars").classes == classes


@pytest.mark.parametrize(("layout", "classes"), [("class-folders", {"kind3": 3, "kind77": 3}), ("flat", {})])
def test_tars_that_may_be_shards_or_classes_are_asked_about(layout, classes, images, tmp_path, add, raw):
    for number, name in enumerate(("kind3", "kind77")):
        members = {f"{name}-{n}.png": image for n, image in enumerate(images[3 * number : 3 * number + 3])}
        write_tar(tmp_path / "tars" / f"{name}.tar", members)
    message = (
        r"kind3\.tar to kind77\.tar may be parts of one set or a class each; .*--layout flat .*--layout class-fold"
    )
    with pytest.raises(ValueError, match=message):
        add(tmp_path / "tars")
    assert nothing_was_added(raw)
    assert add(tmp_path / "tars", choices=Choices(layout=layout)).classes == classes
