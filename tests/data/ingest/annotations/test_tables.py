"""Tables beside images: labels, captions and split of what is read."""

import json

import pandas as pd
import pytest

from tests.data.ingest.trees import captions, labels, read, splits, write, write_csv


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

    @pytest.mark.parametrize(
        "document",
        [
            lambda names: dict(zip(names, "abab", strict=True)),
            lambda names: [{"image": f"images/{n}", "label": label} for n, label in zip(names, "abab", strict=True)],
        ],
    )
    def test_json_as_a_table(self, document, root, images):
        names = images("images", 4)
        write(root / "labels.json", json.dumps(document(names)))
        for name in names:  # as Google Takeout writes beside each photograph
            write(root / "images" / f"{name}.json", json.dumps({"title": name, "description": "at the beach"}))
        reading, said = read(root)
        assert labels(said) == dict(zip(names, "abab", strict=True))
        assert (reading.understood.labels, reading.rejected) == ("the column label of labels.json", [])

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
    def test_labels_json_for_more_images_than_are_here(self, encoding, root, images):
        """As labels.csv: what it names and is not here is rejected."""
        names = images("", 4)
        rows = dict(zip([*names, *(f"{n}.png" for n in range(8))], "ab" * 6, strict=True))
        (root / "labels.json").write_text(json.dumps(rows), encoding=encoding)
        reading, said = read(root)
        assert labels(said) == dict(zip(names, "abab", strict=True))
        assert {file.reason for file in reading.rejected} == {"missing_file"}
        (root / "labels.json").write_text(json.dumps({"gone.png": "a"}), encoding=encoding)
        with pytest.raises(ValueError, match=r"labels\.json: none of its 1 rows names an existing image"):
            read(root)

    @pytest.mark.parametrize("choices", [{}, {"layout": "table"}])
    def test_metadata_json_about_the_dataset_is_no_table(self, choices, root, images):
        names = images("", 4)
        write(root / "metadata.json", json.dumps({"name": "hats", "cover": names[0], "version": 3}))
        write(root / "README.txt", "Hats and shoes\n\nphotographed at the beach in 2020\n")
        write_csv(root / "captions.csv", file=names, caption=[f"a hat, {n}" for n in range(4)])
        reading, said = read(root, **choices)
        assert said[names[1]] == (None, None, ("a hat, 1",))
        assert (reading.understood.labels, reading.rejected) == ("", [])

    def test_any_column_of_any_json_is_no_label(self, root, images):
        names = images("", 4)
        write(root / "info.json", json.dumps([{"file_name": name, "bbox": [1, 2], "w": 3} for name in names]))
        with pytest.raises(ValueError, match=r"info\.json: its column w may hold labels, .* choose --label-column w"):
            read(root)
        assert set(labels(read(root, label_columns=("w",))[1]).values()) == {"3"}
        assert set(labels(read(root, layout="flat")[1]).values()) == {None}

    def test_columns_whose_values_are_those_of_the_folders(self, root, images):
        """The folders 0 and 1, and a table in which fold and sex are 0 or 1 too."""
        names = [f"{folder}/{name}" for folder in ("0", "1") for name in images(folder, 4)]
        write_csv(root / "features.csv", file=names, fold=[0, 1] * 4, sex=[1, 0, 0, 1] * 2)
        reading, said = read(root)
        assert [*labels(said).values()] == ["0"] * 4 + ["1"] * 4
        assert reading.understood.labels == "the folders"
        write_csv(root / "features.csv", file=names, fold=[0, 1] * 4, kind=[0] * 4 + [1] * 3 + [0])
        with pytest.raises(ValueError, match=r"the column kind of features\.csv says 0 for .* 1 of 8 labels"):
            read(root)

    def test_a_list_of_any_name(self, root, images):
        """As of ADE20K (sceneCategories.txt) and CelebA's identities; of a list, some images may not be here."""
        names = images("images", 4)
        write(root / "README.txt", f"Photographs such as {names[0]}\n")
        write(root / "md5sums.txt", "".join(f"{n}123abc {name}\n" for n, name in enumerate(names)))
        rows = zip([*names, "gone.png"], "ababa", strict=True)
        write(root / "sceneCategories.txt", "".join(f"{name} {label}\n" for name, label in rows))
        reading, said = read(root)
        assert labels(said) == dict(zip(names, "abab", strict=True))
        assert (reading.understood.labels, reading.rejected) == ("the column label of sceneCategories.txt", [])

    def test_names_that_differ_in_capitals_or_endings_are_said(self, root, images):
        names = images("images", 4)
        write_csv(root / "labels.csv", file=[name.replace(".png", ".JPG") for name in names], label=list("abab"))
        reading, said = read(root)
        assert labels(said) == dict(zip(names, "abab", strict=True))
        assert (
            "note: labels.csv: its names are those of the images but for capitals, accents or endings" in reading.notes
        )

    @pytest.mark.parametrize("separator", [" ", "|"])
    def test_several_labels_in_a_cell_are_asked_about(self, separator, root, images):
        """As of the Planet and ChestX-ray14 competitions."""
        names = images("", 32)
        cells = 2 * [
            separator.join(name for bit, name in enumerate("wxyz") if n & 1 << bit) or "none" for n in range(16)
        ]
        write_csv(root / "train.csv", image=names, tags=cells)
        with pytest.raises(
            ValueError, match=r"tags hold several of 5 labels, such as 'w.x.y.z'; choose --label-column"
        ):
            read(root)
        assert len(set(labels(read(root, label_columns=("tags",))[1]).values())) == 16
        write_csv(root / "train.csv", image=names, tags=[f"{colour} hat" for colour in ("red", "blue")] * 16)
        assert set(labels(read(root)[1]).values()) == {"red hat", "blue hat"}

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
