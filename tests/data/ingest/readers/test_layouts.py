"""Each layout as a small real tree: images, labels, captions and split of what was read."""

import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from genai_core.data.ingest.choices import Choices
from genai_core.data.ingest.listing import list_folder
from genai_core.data.ingest.readers.image_folder import read_image_folder
from tests.data.ingest.conftest import nothing_was_added
from tests.packed import files_in


@pytest.fixture
def root(tmp_path):
    return tmp_path / "set"


@pytest.fixture
def images(root, save_images):
    """Images in a folder: images("a/b", 3) -> their names; different in each folder."""
    made = []

    def make(folder: str, count: int) -> list[str]:
        made.append(folder)
        return save_images(root / folder, count, seed=len(made))

    return make


def read(root: Path, **choices):
    """Read a tree: the reading, and what is said of each image by its file name."""
    reading = read_image_folder(list_folder(root), Choices(**choices))
    said = {}
    for item in reading.items:
        assert isinstance(item.content, Path)
        said[item.content.name] = (item.label, item.split, item.captions)
    return reading, said


def labels(said):
    return {name: label for name, (label, _, _) in said.items()}


def splits(said):
    return {name: split for name, (_, split, _) in said.items()}


def captions(said):
    return {name: texts for name, (_, _, texts) in said.items()}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_csv(path: Path, **columns) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, index=False)


class TestCaptions:
    """Hugging Face's ImageFolder."""

    @pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "metadata.parquet"])
    @pytest.mark.parametrize(
        ("column", "folder"), [("file_name", ""), ("file_name", "images/"), ("image_file_name", "")]
    )
    @pytest.mark.parametrize("text", ["text", "caption"])
    def test_captions_are_no_classes(self, name, column, folder, text, root, images):
        names = images("images", 30)
        table = pd.DataFrame({column: [folder + one for one in names], text: [f"photo number {n}" for n in range(30)]})
        path = root / ("images" if not folder else "") / name
        if name.endswith("jsonl"):
            table.to_json(path, orient="records", lines=True)
        elif name.endswith("csv"):
            table.to_csv(path, index=False)
        else:
            table.to_parquet(path)
        reading, said = read(root)
        assert said == {one: (None, None, (f"photo number {n}",)) for n, one in enumerate(names)}
        place = path.relative_to(root)
        assert reading.understood.captions == f"the column {text} of {place}"
        assert (reading.understood.labels, reading.skipped, reading.rejected) == ("", {}, [])

    def test_a_table_per_split_with_labels_and_several_captions(self, root, images):
        for top in ("train", "test"):
            rows = [
                {"file_name": name, "label": "hat" if n % 2 else "shoe", "captions": [f"{top} {n}", "a thing"]}
                for n, name in enumerate(images(f"data/{top}", 4))
            ]
            write(root / "data" / top / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        reading, said = read(root)
        assert said["01-001.png"] == ("hat", "train", ("train 1", "a thing"))
        assert said["02-002.png"] == ("shoe", "test", ("test 2", "a thing"))
        assert reading.understood.split == "the folders test and train"

    def test_captions_of_images_in_class_folders(self, root, images):
        names = [f"{folder}/{name}" for folder in ("hat", "shoe") for name in images(folder, 5)]
        write_csv(root / "metadata.csv", file_name=names, text=[f"number {n}" for n in range(10)])
        reading, said = read(root)
        assert said["02-001.png"] == ("shoe", None, ("number 6",))
        assert (reading.understood.labels, reading.understood.captions) == (
            "the folders",
            "the column text of metadata.csv",
        )

    def test_a_row_per_caption(self, root, images):
        """As in Flickr8k."""
        names = images("Images", 3)
        rows = [f"{name},caption {n} of {name}" for name in names for n in range(5)]
        write(root / "captions.txt", "image,caption\n" + "\n".join(rows))
        _, said = read(root)
        assert captions(said)["01-001.png"] == tuple(f"caption {n} of 01-001.png" for n in range(5))

    def test_a_label_with_a_value_per_row_is_asked_about(self, root, images):
        names = images("", 30)
        write_csv(root / "metadata.csv", file_name=names, label=[f"photo number {n}" for n in range(30)])
        message = r"metadata\.csv: label has 30 different values in 30 rows.*--caption-column label.*--layout flat"
        with pytest.raises(ValueError, match=message):
            read(root)
        assert captions(read(root, caption_column="label")[1])["01-002.png"] == ("photo number 2",)
        assert set(labels(read(root, layout="flat")[1]).values()) == {None}
        assert labels(read(root, label_columns=("label",))[1])["01-002.png"] == "photo number 2"


class TestTables:
    def test_images_without_a_row_among_labels_are_rejected(self, root, images):
        names = images("", 10)
        write(root / "captions.csv", "file,caption\n" + "".join(f"{name},a hat {name}\n" for name in names))
        write(root / "labels.csv", "file,label\n" + "".join(f"{name},hat\n" for name in names[:5]))
        reading, said = read(root)
        assert len(said) == 5
        assert {file.source: file.reason for file in reading.rejected} == dict.fromkeys(names[5:], "no_label")

    def test_a_split_without_labels_is_left_out(self, root, images):
        names = images("", 10)
        splits_of = ["train"] * 6 + ["test"] * 4
        lines = (f"{name},{split}\n" for name, split in zip(names, splits_of, strict=True))
        write(root / "splits.csv", "file,split\n" + "".join(lines))
        write(root / "labels.csv", "file,label\n" + "".join(f"{name},hat\n" for name in names[:5]))
        reading, said = read(root)
        assert len(said) == 5
        assert [(file.source, file.reason) for file in reading.rejected] == [(names[5], "no_label")]
        assert reading.skipped["images without a class, beside others with one"] == 4

    def test_a_competitions_ids_without_ending_and_its_test_images(self, root, images):
        names = images("train_images", 6)
        others = images("test_images", 4)
        write_csv(root / "train.csv", id_code=[name[:-4] for name in names], diagnosis=[0, 1, 2, 0, 1, 2])
        write_csv(root / "test.csv", id_code=[name[:-4] for name in others])
        write_csv(root / "sample_submission.csv", id_code=[name[:-4] for name in others], diagnosis=[0] * 4)
        reading, said = read(root)
        assert labels(said) == dict(zip(names, "012012", strict=True))
        assert set(splits(said).values()) == {None}
        assert reading.skipped == {".csv files": 1, "images without a class, beside others with one": 4}
        assert reading.understood.labels == "the column diagnosis of train.csv"
        assert any("their content decides the split" in note for note in reading.notes)

    def test_tables_of_two_splits_for_images_in_one_folder(self, root, images):
        names = images("images", 6)
        write_csv(root / "train.csv", image=names[:4], label=["a", "b", "a", "b"])
        write_csv(root / "val.csv", image=names[4:], label=["a", "b"])
        reading, said = read(root)
        assert labels(said) == dict(zip(names, "ababab", strict=True))
        assert splits(said) == dict(zip(names, ["train"] * 4 + ["test"] * 2, strict=True))
        assert reading.understood.split == "the names train.csv, val.csv"
        assert set(splits(read(root, split=False)[1]).values()) == {None}

    def test_a_name_in_two_splits_is_that_of_the_tables_own(self, root, images):
        """As of CIFAR-10's competition: train/1.png, test/1.png and trainLabels.csv with the id 1."""
        for folder in ("train", "test"):
            for n, name in enumerate(images(folder, 4)):
                (root / folder / name).rename(root / folder / f"{n}.png")
        write_csv(root / "trainLabels.csv", id=[0, 1, 2, 3], label=["frog", "cat", "frog", "cat"])
        reading, _ = read(root)
        assert [(item.content.parent.name, item.path, item.label) for item in reading.items] == [
            ("train", f"{n}.png", label) for n, label in enumerate(["frog", "cat", "frog", "cat"])
        ]
        assert reading.skipped == {"images without a class, beside others with one": 4}

    def test_several_columns_are_asked_about(self, root, images):
        names = images("", 4)
        write_csv(root / "list.csv", image=names, colour=["red", "red", "blue", "blue"], size=["s", "l", "s", "l"])
        with pytest.raises(ValueError, match=r"no label column can be told among colour, size.*--label-column colour"):
            read(root)
        assert labels(read(root, label_columns=("size",))[1]) == dict(zip(names, "slsl", strict=True))
        assert labels(read(root, label_columns=("colour", "size"))[1])["01-001.png"] == "red and l"
        with pytest.raises(ValueError, match=r"--label-column weight: no such column; there are image, colour, size"):
            read(root, label_columns=("weight",))

    def test_lists_are_no_labels(self, root, images):
        """As the objects of Hugging Face's detection datasets."""
        rows = [{"file_name": name, "objects": {"bbox": [[0, 0, 1, 1]]}, "tags": ["a"]} for name in images("", 4)]
        write(root / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        assert set(labels(read(root)[1]).values()) == {None}
        with pytest.raises(ValueError, match=r"metadata\.jsonl: --label-column tags: its cells hold lists"):
            read(root, label_columns=("tags",))

    def test_a_one_hot_table(self, root, images):
        """As of the ISIC challenge."""
        names = images("", 4)
        write_csv(
            root / "truth.csv", image=names, MEL=[1.0, 0.0, 0.0, 1.0], NV=[0.0, 1.0, 0.0, 0.0], BCC=[0.0, 0.0, 1.0, 0.0]
        )
        reading, said = read(root)
        assert labels(said) == dict(zip(names, ["MEL", "NV", "BCC", "MEL"], strict=True))
        assert reading.understood.labels == "the names of the columns of truth.csv that are 1"

    def test_lists_of_paths_give_the_split_of_class_folders(self, root, images):
        """As of Food-101: meta/train.txt has hat/01-000."""
        names = {folder: images(f"images/{folder}", 3) for folder in ("hat", "shoe")}
        for split, numbers in (("train", (0, 1)), ("test", (2,))):
            lines = [f"{folder}/{found[n][:-4]}" for folder, found in names.items() for n in numbers]
            write(root / "meta" / f"{split}.txt", "\n".join(lines) + "\n")
        write(root / "meta" / "classes.txt", "hat\nshoe\n")
        reading, said = read(root)
        assert said["02-002.png"] == ("shoe", "test", ())
        assert said["01-000.png"] == ("hat", "train", ())
        assert reading.understood.labels == "the folders"
        assert reading.skipped == {".txt files": 1}

    def test_a_list_of_paths_with_labels(self, root, images):
        names = images("images", 4)
        write(root / "train.txt", "".join(f"images/{name} {n % 2}\n" for n, name in enumerate(names[:2])))
        write(root / "test.txt", "".join(f"images/{name} {n % 2}\n" for n, name in enumerate(names[2:])))
        _, said = read(root)
        assert [said[name][:2] for name in names] == [("0", "train"), ("1", "train"), ("0", "test"), ("1", "test")]

    def test_a_table_without_header(self, root, images):
        names = images("", 4)
        write(root / "labels.csv", "".join(f"{name},{'hat' if n % 2 else 'shoe'}\n" for n, name in enumerate(names)))
        assert labels(read(root)[1]) == dict(zip(names, ["shoe", "hat"] * 2, strict=True))


class TestAttributes:
    """CelebA's lists, as published and as tables."""

    @pytest.fixture
    def celeba(self, root, images):
        names = images("img_align_celeba", 6)
        smiling, male = [1, 1, -1, -1, 1, -1], [1, -1, 1, -1, -1, 1]
        rows = [f"{name} {a:>2} {b:>2}" for name, a, b in zip(names, smiling, male, strict=True)]
        write(root / "list_attr_celeba.txt", "\n".join(["6", "Smiling Male", *rows]) + "\n")
        write(root / "list_eval_partition.txt", "".join(f"{name} {n // 2}\n" for n, name in enumerate(names)))
        return names

    @pytest.mark.usefixtures("celeba")
    def test_they_are_asked_about(self, root):
        message = (
            r"list_attr_celeba\.txt: has 2 attributes \(Smiling, Male\) and no label; choose one, --label-column "
            r"Smiling, combinations, --label-column Smiling,Male, or no classes: --layout flat"
        )
        with pytest.raises(ValueError, match=message):
            read(root)

    def test_one_attribute(self, root, celeba):
        reading, said = read(root, label_columns=("Smiling",))
        yes, no = "Smiling", "not Smiling"
        assert labels(said) == dict(zip(celeba, [yes, yes, no, no, yes, no], strict=True))
        assert splits(said) == dict(zip(celeba, ["train"] * 2 + ["test"] * 4, strict=True))
        assert reading.understood.split == "the column partition of list_eval_partition.txt"

    @pytest.mark.usefixtures("celeba")
    def test_combinations(self, root):
        _, said = read(root, label_columns=("Male", "Smiling"))
        assert labels(said)["01-001.png"] == "not Male and Smiling"
        assert len(set(labels(said).values())) == 4

    @pytest.mark.usefixtures("celeba")
    def test_none(self, root):
        assert set(labels(read(root, layout="flat")[1]).values()) == {None}

    def test_as_tables(self, root, images):
        names = images("img_align_celeba/img_align_celeba", 4)
        write_csv(root / "list_attr_celeba.csv", image_id=names, Smiling=[1, -1, 1, -1], Male=[1, 1, -1, -1])
        write_csv(root / "list_eval_partition.csv", image_id=names, partition=[0, 0, 1, 2])
        with pytest.raises(ValueError, match=r"list_attr_celeba\.csv: has 2 attributes"):
            read(root)
        _, said = read(root, label_columns=("Male",))
        assert labels(said) == dict(zip(names, ["Male"] * 2 + ["not Male"] * 2, strict=True))
        assert splits(said) == dict(zip(names, ["train"] * 2 + ["test"] * 2, strict=True))


def coco(names, annotations, categories=("cat", "dog")):
    return {
        "info": {"year": 2017},
        "images": [{"id": n + 100, "file_name": name, "width": 12, "height": 12} for n, name in enumerate(names)],
        "annotations": [{"id": n, **annotation} for n, annotation in enumerate(annotations)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(categories)],
    }


class TestCoco:
    @pytest.fixture
    def tree(self, root, images):
        names = {split: images(f"{split}2017", 3) for split in ("train", "val")}

        def write_files(categories):
            for split, found in names.items():
                objects = [
                    {"image_id": n + 100, "category_id": category, "bbox": [0, 0, 1, 1]}
                    for n in range(3)
                    for category in categories[n]
                ]
                texts = [{"image_id": n + 100, "caption": f"caption {k} of {n}"} for n in range(3) for k in range(2)]
                for kind, rows in (("instances", objects), ("captions", texts)):
                    write(root / "annotations" / f"{kind}_{split}2017.json", json.dumps(coco(found, rows)))

        return names, write_files

    def test_captions_and_one_category_per_picture(self, tree, root):
        names, write_files = tree
        write_files([[0, 0], [1], [0]])
        reading, said = read(root)
        assert said[names["train"][1]] == ("dog", "train", ("caption 0 of 1", "caption 1 of 1"))
        assert said[names["val"][0]] == ("cat", "test", ("caption 0 of 0", "caption 1 of 0"))
        assert reading.understood.captions == "captions_train2017.json, captions_val2017.json"
        assert reading.understood.split == "the folders train2017 and val2017"
        assert reading.skipped == {}

    def test_pictures_of_another_folder_are_not_here(self, images, root):
        names = images("b", 2)
        rows = [{"image_id": n + 100, "category_id": n % 2} for n in range(4)]
        files = [f"a/{names[0]}", f"a/{names[1]}", f"b/{names[0]}", f"b/{names[1]}"]
        rows[2]["category_id"], rows[3]["category_id"] = 1, 0
        write(root / "instances.json", json.dumps(coco(files, rows)))
        reading, said = read(root)
        assert labels(said) == {names[0]: "dog", names[1]: "cat"}
        assert reading.notes == ["note: 2 pictures of instances.json are not here"]

    def test_several_categories_beside_captions_are_no_classes(self, tree, root):
        _, write_files = tree
        write_files([[0, 1], [1], []])
        reading, said = read(root)
        assert set(labels(said).values()) == {None}
        assert all(len(texts) == 2 for texts in captions(said).values())
        assert any("2 of 6 pictures show objects of several categories, 2 of none" in note for note in reading.notes)

    def test_several_categories_alone_are_asked_about(self, tree, root):
        _, write_files = tree
        write_files([[0, 1], [1], [0]])
        for path in (root / "annotations").glob("captions_*"):
            path.unlink()
        with pytest.raises(ValueError, match=r"2 of 6 pictures show objects of several .*--layout flat"):
            read(root)
        assert set(labels(read(root, layout="flat")[1]).values()) == {None}

    def test_a_file_in_each_split(self, root, images):
        """As Roboflow exports it."""
        for split in ("train", "valid"):
            names = images(split, 4)
            rows = [{"image_id": n + 100, "category_id": n % 2} for n in range(4)]
            write(root / split / "_annotations.coco.json", json.dumps(coco(names, rows)))
        _, said = read(root)
        assert [said[f"0{n}-001.png"][:2] for n in (1, 2)] == [("dog", "train"), ("dog", "test")]

    def test_ids_that_are_no_numbers_or_texts_are_left_out(self, root, images):
        names = images("", 4)
        document = coco(names, [{"image_id": n, "category_id": n % 2} for n in (100, 101, 102)])
        document["images"][3]["id"] = [1]
        document["categories"].append({"id": {}, "name": "bird"})
        document["annotations"] += [{"image_id": [1], "category_id": 0}, {"image_id": 100, "category_id": {}}]
        write(root / "coco.json", json.dumps(document))
        reading, said = read(root)
        assert {name: said[name][0] for name in names[:3]} == dict(zip(names, ["cat", "dog", "cat"], strict=False))
        assert names[3] not in said
        assert "note: coco.json: 2 entries left out, whose id is no number or text" in reading.notes

    def test_other_json_is_no_coco(self, root, images):
        images("", 3)
        write(root / "notes.json", '{"images": [], "annotations": [1]}')
        write(root / "list.json", "[" * 100_000)
        write(root / "count.json", '{"images": [{}], "annotations": [{}], "categories": 5}')
        reading, said = read(root)
        assert (len(said), reading.skipped) == (3, {".json files": 3})
        with pytest.raises(ValueError, match=r"--layout coco: no JSON file in COCO's form"):
            read(root, layout="coco")


class TestVoc:
    @pytest.fixture
    def tree(self, root, images):
        names = images("VOC2012/JPEGImages", 4)

        def write_files(objects):
            for name, found in zip(names, objects, strict=True):
                parts = "".join(f"<object><name>{one}</name><part><name>head</name></part></object>" for one in found)
                text = f"<annotation><filename>{name}</filename>{parts}</annotation>"
                write(root / "VOC2012/Annotations" / f"{name[:-4]}.xml", text)
            for split, part in (("train", names[:3]), ("val", names[3:]), ("trainval", names)):
                listed = "".join(f"{name[:-4]}\n" for name in part)
                write(root / "VOC2012/ImageSets/Main" / f"{split}.txt", listed)

        return names, write_files

    def test_objects_of_one_kind_are_classes(self, tree, root):
        names, write_files = tree
        write_files([["cat", "cat"], ["dog"], ["cat"], ["dog"]])
        reading, said = read(root)
        assert [said[name][:2] for name in names] == [
            *(("cat", "train"), ("dog", "train"), ("cat", "train"), ("dog", "test"))
        ]
        assert reading.understood.layout == "Pascal VOC"
        assert reading.understood.labels == "the objects in VOC2012/Annotations/*.xml"
        assert reading.skipped == {".txt files": 1}

    def test_several_kinds_are_asked_about(self, tree, root):
        _, write_files = tree
        write_files([["cat", "dog"], ["dog"], [], ["dog"]])
        with pytest.raises(ValueError, match=r"2 of 4 pictures show several kinds of objects or none.*--layout flat"):
            read(root)
        reading, said = read(root, layout="flat")
        assert set(labels(said).values()) == {None}
        assert reading.understood.split.startswith("VOC2012/ImageSets/Main/train.txt")

    def test_entities_of_xml_do_not_expand(self, tree, root):
        _, write_files = tree
        write_files([["cat"]] * 4)
        bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
            f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(12)
        )
        path = next((root / "VOC2012/Annotations").iterdir())
        path.write_text(f"{bomb}]><annotation><object><name>&m;</name></object></annotation>")
        reading, _ = read(root)
        assert [file.reason for file in reading.rejected] == ["no_label"]


class TestContradictions:
    @pytest.fixture
    def hats_and_shoes(self, images):
        return [f"{folder}/{name}" for folder in ("hat", "shoe") for name in images(folder, 5)]

    def test_labels_that_contradict_folders(self, root, hats_and_shoes):
        said = ["hat"] * 4 + ["shoe"] * 6
        write_csv(root / "labels.csv", file=hats_and_shoes, label=said)
        message = r"labels\.csv says shoe for hat/01-004\.png, and 1 of 10 labels .*--layout table or --layout class"
        with pytest.raises(ValueError, match=message):
            read(root)
        assert labels(read(root, layout="table")[1])["01-004.png"] == "shoe"
        assert labels(read(root, layout="class-folders")[1])["01-004.png"] == "hat"

    def test_labels_that_agree_or_only_have_other_names(self, root, hats_and_shoes):
        write_csv(root / "labels.csv", file=hats_and_shoes, label=["hat"] * 5 + ["shoe"] * 5)
        assert read(root)[0].understood.labels == "the folders"
        write_csv(root / "labels.csv", file=hats_and_shoes, label=["a hat"] * 5 + ["a shoe"] * 5)
        reading, said = read(root)
        assert labels(said)["01-004.png"] == "a hat"
        write_csv(root / "labels.csv", file=hats_and_shoes, label=[0] * 5 + [1] * 5)
        assert labels(read(root)[1])["01-004.png"] == "hat"
        assert reading.understood.labels == "the column label of labels.csv"

    def test_two_layouts_at_once(self, root, images):
        """Two folders of images, and a table whose name does not say that it has labels."""
        names = [f"{folder}/{name}" for folder in ("left", "right") for name in images(folder, 4)]
        write_csv(root / "list.csv", image=names, label=list("aabbabab"))
        with pytest.raises(ValueError, match=r"classes may be the folders \(left, right\) or the column label of"):
            read(root)
        assert labels(read(root, layout="table")[1])["02-001.png"] == "b"
        assert labels(read(root, layout="class-folders")[1])["02-001.png"] == "right"

    def test_two_kinds_of_annotations(self, root, images):
        names = images("", 4)
        write_csv(root / "labels.csv", file=names, label=list("abab"))
        write(root / "coco.json", json.dumps(coco(names, [{"image_id": n + 100, "category_id": 0} for n in range(4)])))
        with pytest.raises(ValueError, match=r"both coco\.json and labels\.csv hold .*--layout coco or --layout table"):
            read(root)
        assert set(labels(read(root, layout="coco")[1]).values()) == {"cat"}

    def test_a_folder_per_image_is_asked_about_unless_a_table_has_labels(self, root, images):
        names = [f"{n}/{images(str(n), 1)[0]}" for n in range(8)]
        with pytest.raises(ValueError, match=r"8 folders for 8 images are hardly classes; choose --layout flat"):
            read(root)
        write_csv(root / "labels.csv", file=names, label=list("abababab"))
        assert labels(read(root)[1])["03-000.png"] == "a"

    def test_a_split_that_folders_and_table_say_differently(self, root, images):
        names = [f"{top}/{name}" for top in ("train", "test") for name in images(top, 3)]
        write_csv(root / "labels.csv", file=names, label=list("ababab"), split=["train"] * 6)
        with pytest.raises(ValueError, match=r"test/02-000\.png is for training and for testing.*--no-split"):
            read(root)

    def test_half_of_the_files_are_something_else(self, root, images):
        images("", 4)
        for n in range(4):
            (root / f"{n}.mp3").write_bytes(b"x")
        reading, _ = read(root)
        assert "note: 4 of 8 files are no images, and were left out" in reading.notes
        assert reading.skipped == {".mp3 files": 4}

    def test_choices_that_contradict_each_other(self):
        with pytest.raises(ValueError, match="--label-column needs a table"):
            Choices("voc", ("x",))
        with pytest.raises(ValueError, match="no such layout; known are flat, class-folders"):
            Choices("hat")

    def test_a_chosen_table_that_is_not_there(self, root, images):
        images("", 3)
        with pytest.raises(ValueError, match=r"no table .* beside the images"):
            read(root, layout="table")


def test_masks_are_left_out_and_said(root, images, save_images):
    names = images("images", 4)
    for name in names:
        (root / "masks").mkdir(exist_ok=True)
        (root / "masks" / name).write_bytes((root / "images" / name).read_bytes())
    reading, said = read(root)
    assert labels(said) == dict.fromkeys(names)
    assert reading.skipped == {"masks": 4}
    assert "note: masks/: taken as masks of other images and left out" in reading.notes


def test_system_files_are_no_classes(root, images):
    for folder in ("hat", "shoe", "__MACOSX/hat", "@eaDir/1.jpg", ".ipynb_checkpoints"):
        images(folder, 2)
    for name in (".DS_Store", "hat/Thumbs.db", "shoe/desktop.ini"):
        (root / name).write_bytes(b"x")
    reading, said = read(root)
    assert set(labels(said).values()) == {"hat", "shoe"}
    assert reading.skipped == {"hidden files and folders": 6}


def test_shards_become_one_flat_set(root, add, raw, save_images):
    for shard in range(3):
        for n, name in enumerate(save_images(root / f"{shard:05d}", 4, seed=shard)):
            (root / f"{shard:05d}" / name).rename(root / f"{shard:05d}" / f"img{shard * 1000 + n:08d}.png")
    added = add(root)
    assert added.classes == {}
    assert list(files_in(raw / "set"))[:2] == ["00000-img00000000.png", "00000-img00000001.png"]


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
