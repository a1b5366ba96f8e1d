"""The rules for folders, on lists of paths."""

import pytest

from genai_core.data.ingest.layouts.folders import folder_layout


def files(*folders, count=3):
    """Images 0.jpg ... in each folder, with names that differ."""
    return sorted(f"{folder}/{index}{number}.jpg" for index, folder in enumerate(folders, 1) for number in range(count))


def found(paths, **choices):
    """The classes with their splits, and the layout."""
    layout = folder_layout(paths, **choices)
    assert set(layout.places) == set(paths)
    return {(place.label, place.split) for place in layout.places.values()}, layout


@pytest.mark.parametrize(
    ("folders", "wrapper"),
    [
        (["hat", "shoe"], None),
        (["set/hat", "set/shoe"], "set"),
        (["a/b/images/hat", "a/b/images/shoe"], "a/b/images"),
        (["hat", "shoe/left", "shoe/right"], None),
    ],
)
def test_class_folders_below_wrappers(folders, wrapper):
    classes, layout = found(files(*folders))
    assert classes == {("hat", None), ("shoe", None)}
    assert (layout.wrapper, layout.labels, layout.splits) == (wrapper, "the folders", "")


def test_deeper_folders_stay_in_the_names_and_the_last_one_can_be_chosen():
    paths = files("one/hat", "two/hat", "two/shoe")
    classes, layout = found(paths)
    assert classes == {("one", None), ("two", None)}
    assert layout.places["two/hat/20.jpg"].name == "hat/20.jpg"
    assert "--layout leaf-folders" in layout.class_notes[0]
    classes, layout = found(paths, layout="leaf-folders")
    assert classes == {("hat", None), ("shoe", None)}
    assert layout.places["two/hat/20.jpg"].name == "two/20.jpg"


@pytest.mark.parametrize("wrapper", ["", "images/", "photos/2024/"])
def test_a_single_folder_is_a_wrapper(wrapper):
    classes, layout = found([f"{wrapper}{number}.jpg" for number in range(3)])
    assert (classes, layout.labels, layout.layout) == ({(None, None)}, "", "images without class folders")
    assert layout.wrapper == (wrapper.rstrip("/") or None)


def test_a_single_folder_beside_images_is_no_class():
    classes, layout = found([*files("edited"), "1.jpg", "2.jpg"])
    assert classes == {(None, None)}
    assert layout.places["edited/10.jpg"].name == "edited/10.jpg"


def test_images_beside_class_folders_have_no_class():
    classes, layout = found([*files("set/hat", "set/shoe"), "set/cover.jpg"])
    assert classes == {("hat", None), ("shoe", None), (None, None)}
    assert (layout.places["set/cover.jpg"].label, layout.wrapper) == (None, "set")


@pytest.mark.parametrize(
    ("folders", "split"),
    [
        (["train/hat", "train/shoe", "test/hat", "test/shoe"], "the folders test and train"),
        (["set/Training/hat", "set/Training/shoe", "set/Testing/hat"], "the folders Testing and Training"),
        (["hat/train", "hat/test", "shoe/train", "shoe/test"], "the folders test and train below other folders"),
        (["data/train/images/hat", "data/train/images/shoe", "data/test/images/hat"], "the folders test and train"),
        (["seg_train/seg_train/hat", "seg_train/seg_train/shoe", "seg_test/seg_test/hat"], None),
        (["train_images/hat", "train_images/shoe", "test_images/hat", "test_images/shoe"], None),
        (["train_hat", "test_hat", "train_shoe", "test_shoe"], None),
        (["hat/train/a", "hat/val/b", "shoe/train/c"], "the folders train and val below other folders"),
    ],
)
def test_splits_above_and_below_the_class(folders, split):
    classes, layout = found(files(*folders))
    assert {label for label, _ in classes} == {"hat", "shoe"}
    assert {split for _, split in classes} == {"train", "test"}
    assert ("hat", "test") in classes
    assert split is None or layout.splits == split


@pytest.mark.parametrize("folders", [("train", "val"), ("train2017", "val2017"), ("images/train", "images/test")])
def test_splits_without_classes(folders):
    classes, layout = found(files(*folders))
    assert (classes, layout.labels) == ({(None, "train"), (None, "test")}, "")


@pytest.mark.parametrize(
    "folders", [("train", "bus", "car"), ("test_tube", "train_station"), ("train_a", "train_b", "test_c", "test_d")]
)
def test_classes_whose_names_hold_the_word_of_a_split(folders):
    classes, _ = found(files(*folders))
    assert classes == {(folder, None) for folder in folders}


def test_splits_can_be_taken_as_classes():
    classes, layout = found(files("train/hat", "test/hat"), split=False)
    assert (classes, layout.splits) == ({("train", None), ("test", None)}, "")


@pytest.mark.parametrize("folders", [("train/hat", "test/hat", "new/hat"), ("hat/train", "hat/test", "shoe")])
def test_a_split_of_a_part_only_is_asked_about(folders):
    with pytest.raises(ValueError, match=r"beside the split folders test, train there is .* 3 images.*--no-split"):
        folder_layout(files(*folders))


@pytest.mark.parametrize("test", ["test", "test/test", "test/unknown"])
def test_a_split_without_classes_beside_one_with_classes(test):
    _, layout = found(files("train/hat", "train/shoe", test))
    assert {folder: len(paths) for folder, paths in layout.unlabelled.items()} == {"test": 3}


def test_a_class_that_is_only_in_the_test_split_stays():
    """As in MVTec AD, where only good parts are for training."""
    classes, layout = found(files("train/good", "test/good", "test/broken"))
    assert classes == {("good", "train"), ("good", "test"), ("broken", "test")}
    assert layout.unlabelled == {}


def test_shards_are_no_classes():
    paths = [f"{number // 1000:05d}/img{number:08d}.png" for number in range(0, 4000, 100)]
    classes, layout = found(paths)
    assert (classes, layout.labels) == ({(None, None)}, "")
    assert "00000 to 00003 were taken as numbered parts of one sequence" in layout.class_notes[0]
    assert "--layout class-folders" in layout.class_notes[0]
    assert len(found(paths, layout="class-folders")[0]) == 4


@pytest.mark.parametrize(
    "path",
    [
        lambda number: f"{number % 10:05d}/{number // 10:05d}.png",  # begins anew, as in GTSRB
        lambda number: f"{number % 10}/{number:04d}.png",  # one numbering, mixed
        lambda number: f"{number // 10}/{number:04d}.png",  # not padded
        lambda number: f"{number // 10:03d}/photo-of-{'abcdefghij'[number % 10]}.png",  # no numbers
    ],
)
def test_numbered_classes_are_classes(path):
    classes, _ = found([path(number) for number in range(100)])
    assert len(classes) == 10


def running(folders, per):
    """Images numbered from one folder to the next, without gaps; per: how many in each."""
    return [f"{folder}/{place * per + n:06d}.png" for place, folder in enumerate(folders) for n in range(per)]


def test_full_folders_with_running_numbers_are_asked_about():
    """00 to 02 with 100 images each may be shards, or balanced classes that were written one after the other."""
    paths = running(["00", "01", "02"], 100)
    layout = folder_layout(paths)
    assert "the folders 00 to 02 have 100 images each" in layout.doubt
    assert "--layout flat" in layout.doubt
    assert folder_layout(paths, layout="class-folders").labels == "the folders"
    for certain in (
        paths[:-1],  # the last shard is not full
        [path for path in paths if not path.endswith("57.png")],  # some are missing
        running(["00000", "00001", "00002"], 100),  # more digits than three classes need
        running(["000", "100", "200"], 100),  # called as their first image
    ):
        assert (folder_layout(certain).doubt, folder_layout(certain).labels) == ("", "")


@pytest.mark.parametrize(
    ("paths", "what"),
    [
        ([f"{number % 1000:04d}/{number}.jpg" for number in range(1, 30_000, 777)], "the last digits of the numbers"),
        ([f"{name[:2]}/{name}.jpg" for name in ("3f09ab77", "3f11ab99", "a0000001", "77777777")], "the first letters"),
        (["2019/a.jpg", "2020/05/b.jpg", "2021/c.jpg"], "dates"),
        (["2019-01-02/a.jpg", "2019-01-03/b.jpg"], "dates"),
        (["Photos from 2019/a.jpg", "Photos from 2020/b.jpg"], "dates"),
        (["images_001/images/a.png", "images_002/images/b.png"], "numbered parts"),
        (["HAM_images_part_1/a.png", "HAM_images_part_2/b.png"], "numbered parts"),
        (["Photos from 2019/a.jpg", "Summer in Rome/b.jpg"], "years and albums of a photo library"),
        (["Fotos von 2019/a.jpg", "Rom/b.jpg"], "years and albums of a photo library"),
        (["iCloud Photos Part 1 of 2/a.jpg", "iCloud Photos Part 2 of 2/b.jpg"], "numbered parts"),
        (["DCIM/Camera/a.jpg", "DCIM/Screenshots/b.jpg"], "folders of phones and programs"),
        (["DCIM/100APPLE/a.jpg", "DCIM/101APPLE/b.jpg"], "a camera's folders"),
    ],
)
def test_storage_is_no_class(paths, what):
    classes, layout = found(paths)
    assert classes == {(None, None)}
    assert what in layout.class_notes[0]
    assert len(found(paths, layout="class-folders")[0]) > 1


@pytest.mark.parametrize(
    "folders", [("0", "1", "a"), ("2019", "hat"), ("a", "b", "c"), ("s1", "s2"), ("part1", "batch2")]
)
def test_classes_that_only_look_a_little_like_storage(folders):
    assert len(found(files(*folders))[0]) == len(folders)


def test_thousands_of_folders_with_few_images_each_are_asked_about():
    folders = [f"k{number:05d}" for number in range(1_200)]
    assert "1,200 folders for 2,400 images are hardly classes" in folder_layout(files(*folders, count=2)).doubt
    assert folder_layout(files(*folders, count=6)).doubt == ""
    assert folder_layout(files(*folders[:900], count=2)).doubt == ""


@pytest.mark.parametrize("top", ["", "train/"])
def test_folders_of_first_letters_are_no_classes(top):
    """As of Places and SUN: a/airfield, a/alley, b/bakery/shop."""
    paths = files(*(f"{top}{folder}" for folder in ("a/airfield", "a/alley", "b/bakery/shop", "b/bar")))
    paths += files("val/a/alley", "val/b/bar") if top else []
    classes, layout = found(paths)
    assert {label for label, _ in classes} == {"airfield", "alley", "bakery", "bar"}
    assert (
        "a to b are the first letters of those below them; if they are the classes, add with --layout"
        in layout.notes[0]
    )
    assert {label for label, _ in found(paths, layout="class-folders")[0]} == {"a", "b"}
    assert found(files("a/airfield", "b/tree"))[0] == {("a", None), ("b", None)}


@pytest.mark.parametrize(
    ("first", "second", "sign"), [("A", "B", "_"), ("A", "B", ""), ("0", "1", "_"), ("0", "1", "a")]
)
def test_folders_of_letters_by_writer_are_classes(first, second, sign):
    """As of letters and digits that several people wrote: A/A_01, A/A_02, B/B_01; 0/0_a."""
    paths = files(*(f"{top}/{top}{sign}{writer}" for top in (first, second) for writer in ("01", "02")))
    assert found(paths)[0] == {(first, None), (second, None)}


@pytest.mark.parametrize(
    ("folders", "split", "other"),
    [(["data_256", "val_256"], "val_256", "data_256"), (["images", "test"], "test", "images")],
)
def test_a_split_beside_a_folder_that_says_nothing_is_asked_about(folders, split, other):
    with pytest.raises(ValueError, match=rf"{split} is named like a split, and {other} beside it .* --no-split"):
        folder_layout(files(*(f"{folder}/hat" for folder in folders)))
    assert found(files(*folders), split=False)[0] == {(folder, None) for folder in folders}


def test_a_few_folders_with_usual_names_are_asked_about():
    paths = files("Pictures", "screenshots")
    assert "the folders Pictures, screenshots may be those of a phone, or classes; choose" in folder_layout(paths).doubt
    assert found(paths, layout="class-folders")[0] == {("Pictures", None), ("screenshots", None)}
    for more in (files("Camera"), files("download", "sent")):
        assert folder_layout([*paths, *more]).doubt == ""


def test_counted_file_names_are_asked_about():
    paths = [f"train/{name}.{number}.jpg" for name in ("cat", "dog") for number in range(5)]
    paths += [f"test1/{number}.jpg" for number in range(4)]
    assert "2 words (cat 5, dog 5); choose --layout file-names" in folder_layout(paths).doubt
    for photographs in ("beach 2031.jpg", "party.jpg"):  # not counted from the first on; without a number
        assert folder_layout([*paths, f"train/{photographs}"]).doubt == ""
    assert folder_layout(paths, layout="file-names").doubt == ""


def test_classes_in_file_names_are_said_and_can_be_chosen():
    paths = [f"train/{name}.{number}.jpg" for name in ("cat", "dog") for number in range(3)]
    paths += [f"test1/{number}.jpg" for number in range(4)]
    classes, layout = found(paths)
    assert classes == {(None, "train"), (None, "test")}
    assert "2 words (cat 3, dog 3); if these are classes, add with --layout file-names" in layout.class_notes[-1]
    classes, layout = found(paths, layout="file-names")
    assert classes == {("cat", "train"), ("dog", "train"), (None, "test")}
    assert layout.unlabelled == {"test1": ("test1/0.jpg", "test1/1.jpg", "test1/2.jpg", "test1/3.jpg")}
    assert layout.labels == "the words before the numbers in the files' names"


@pytest.mark.parametrize("names", [("IMG_1", "IMG_2", "DSC_1", "DSC_2"), ("cat1", "cat2"), ("cat1", "dog1", "dog2")])
def test_names_of_cameras_and_of_single_images_hold_no_classes(names):
    assert found([f"{name}.jpg" for name in names])[1].notes == ()


def test_split_folders_beside_others_of_their_kind_are_asked_about():
    with pytest.raises(ValueError, match=r"beside the split folders seg_test, seg_train there is the folder seg_pred"):
        folder_layout(files("seg_train/hat", "seg_train/shoe", "seg_test/hat", "seg_pred"))
    assert len(found(files("test_tube", "train_station", "car"))[0]) == 3


def test_a_folder_per_image_is_doubted():
    paths = [f"sample-{number}/image.png" for number in range(10)]
    assert "10 folders for 10 images are hardly classes" in folder_layout(paths).doubt
    assert folder_layout(paths, layout="flat").doubt == ""
    assert folder_layout(paths[:7]).doubt == ""


def test_flat_keeps_the_folders_in_the_names():
    classes, layout = found(files("set/hat", "set/shoe"), layout="flat")
    assert (classes, layout.places["set/shoe/20.jpg"].name) == ({(None, None)}, "shoe/20.jpg")


@pytest.mark.parametrize(("size", "labels"), [(7, {"00", "01"}), (100, {None})])
def test_two_numbered_folders_are_parts_only_with_a_usual_size(size, labels):
    paths = [f"{number // size:02d}/{number:04d}.jpg" for number in range(2 * size)]
    assert {label for label, _ in found(paths)[0]} == labels


def test_three_numbered_folders_are_parts_with_any_size():
    paths = [f"{number // 7:02d}/{number:04d}.jpg" for number in range(21)]
    assert {label for label, _ in found(paths)[0]} == {None}
