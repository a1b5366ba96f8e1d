import pytest

from genai_core.data.ingest.choices import Choices, giving_up_split
from tests.data.ingest.conftest import nothing_was_added
from tests.data.ingest.tables import rows, write_table


class TestSplits:
    @pytest.mark.parametrize("held_out", ["test", "val", "Validation"])
    @pytest.mark.parametrize("form", ["{split}/{name}", "{name}/{split}", "set_{split}/images/{name}"])
    def test_folders_above_or_below_the_class(self, held_out, form, tmp_path, add, raw, images_in, save_images):
        for seed, name in enumerate(("hat", "shoe")):
            save_images(tmp_path / "set" / form.format(split="train", name=name), 2, seed=seed)
            save_images(tmp_path / "set" / form.format(split=held_out, name=name), 1, seed=seed + 2)
        added = add(tmp_path / "set")
        assert (added.splits, added.classes) == ({"train": 4, "test": 2}, {"hat": 3, "shoe": 3})
        assert list(images_in(raw / "set.test")) == ["hat/02-000.png", "shoe/03-000.png"]
        assert held_out in added.understood.split

    def test_test_and_validation_are_both_held_out_and_keep_their_names_apart(
        self, tmp_path, add, raw, images_in, save_images
    ):
        for seed, top in enumerate(("train", "val", "test")):
            for name in ("hat", "shoe"):
                save_images(tmp_path / "set" / top / name, 1, seed=seed)
                next((tmp_path / "set" / top / name).iterdir()).rename(tmp_path / "set" / top / name / "1.png")
        add(tmp_path / "set")
        assert list(images_in(raw / "set.test")) == [
            *("hat/test/1.png", "hat/val/1.png", "shoe/test/1.png", "shoe/val/1.png")
        ]

    def test_flat_splits_with_a_table_each(self, tmp_path, add, save_images):
        for seed, top in enumerate(("train", "test")):
            names = save_images(tmp_path / "set" / top, 2, seed=seed)
            write_table(tmp_path / "set" / top / "labels.csv", [{"file": name, "label": "hat"} for name in names])
        added = add(tmp_path / "set")
        assert (added.classes, added.splits) == ({"hat": 4}, {"train": 2, "test": 2})

    def test_column_of_a_table(self, flat, add):
        records = [{**record, "split": "train" if number < 30 else "val"} for number, record in enumerate(rows())]
        write_table(flat / "labels.csv", records)
        added = add(flat)
        assert (added.splits, added.understood.split) == ({"train": 30, "test": 10}, "the column split of labels.csv")
        assert add(flat, "other", choices=Choices(split=False)).splits == {}

    def test_only_some_images_with_a_split_are_asked_about(self, flat, add, raw):
        records = [{**record, "split": ["train", "val", ""][number % 3]} for number, record in enumerate(rows())]
        write_table(flat / "labels.csv", records)
        with pytest.raises(ValueError, match=r"13 of 40 images, first 00-002\.png, have no split in .*--no-split"):
            add(flat)
        assert nothing_was_added(raw)

    def test_no_split_takes_the_folders_as_classes(self, tmp_path, add, save_images):
        for seed, top in enumerate(("train", "test")):
            save_images(tmp_path / "set" / top / "hat", 2, seed=seed)
        added = add(tmp_path / "set", choices=Choices(split=False))
        assert (added.names, added.classes, added.splits) == (("set",), {"train": 2, "test": 2}, {})

    @pytest.mark.parametrize(
        ("folders", "way_out", "classes"),
        [
            (("train/hat", "train/bag", "test/hat", "test/bag"), "leaf-folders", {"bag": 4, "hat": 4}),
            (("train", "test"), "flat", {}),
        ],
    )
    def test_the_message_names_what_pools_the_images(self, folders, way_out, classes, tmp_path, add, save_images):
        for seed, folder in enumerate(folders):
            save_images(tmp_path / "set" / folder, 2, seed=seed)
        said = add(tmp_path / "set").understood
        message = giving_up_split(said.split, said.labels)
        assert message.startswith(f"--no-split (takes these folders as classes; --layout {way_out} --no-split pools ")
        pooled = add(tmp_path / "set", "pooled", choices=Choices(layout=way_out, split=False))
        assert (pooled.names, pooled.added_images, pooled.classes) == (("pooled",), 2 * len(folders), classes)

    def test_split_folders_below_the_classes_are_pooled(self, tmp_path, add, save_images):
        for seed, folder in enumerate(("hat/train", "hat/test", "bag/train", "bag/test")):
            save_images(tmp_path / "set" / folder, 2, seed=seed)
        said = add(tmp_path / "set").understood
        assert giving_up_split(said.split, said.labels) == "--no-split (pools all images)"
        assert add(tmp_path / "set", "pooled", choices=Choices(split=False)).classes == {"bag": 4, "hat": 4}

    def test_a_split_without_readable_images_leaves_the_classes(self, tmp_path, add, save_images):
        for seed, name in enumerate(("hat", "shoe")):
            save_images(tmp_path / "set" / "train" / name, 2, seed=seed)
            (tmp_path / "set" / "test" / name).mkdir(parents=True)
            (tmp_path / "set" / "test" / name / "1.mp4").write_bytes(b"")  # skipped without --every
        added = add(tmp_path / "set")
        assert (added.names, added.classes, added.splits) == (("set",), {"hat": 2, "shoe": 2}, {})

    def test_other_top_folders_are_asked_about(self, tmp_path, add, raw, save_images):
        for top in ("train", "test", "extra"):
            save_images(tmp_path / "set" / top / "hat", 2)
        for choices in (Choices(), Choices(split=True)):
            with pytest.raises(ValueError, match=r"folders test, train there is the folder extra for 2 .*--no-split"):
                add(tmp_path / "set", choices=choices)
        assert nothing_was_added(raw)

    @pytest.mark.parametrize("tops", [("hat", "shoe"), ("train",), ("train/hat", "train/shoe")])
    def test_insisting_on_a_split_that_is_not_there(self, tops, tmp_path, add, raw, save_images):
        for top in tops:
            save_images(tmp_path / "set" / top, 1)
        with pytest.raises(ValueError, match=r"--split: "):
            add(tmp_path / "set", choices=Choices(split=True))
        assert nothing_was_added(raw)

    def test_one_split_alone_is_a_wrapper(self, tmp_path, add, save_images):
        for seed, name in enumerate(("hat", "shoe")):
            save_images(tmp_path / "set" / "train" / name, 2, seed=seed)
        added = add(tmp_path / "set")
        assert (added.classes, added.splits, added.wrapper) == ({"hat": 2, "shoe": 2}, {}, "train")
        assert any("all images are in train/" in note for note in added.notes)

    def test_held_out_folders_alone_are_one_set(self, tmp_path, add, raw, images_in, save_images):
        for top in ("val", "test"):
            for seed, name in enumerate(("hat", "shoe")):
                save_images(tmp_path / "set" / top / name, 1, seed=seed)
        added = add(tmp_path / "set")
        assert (added.classes, added.splits) == ({"hat": 2, "shoe": 2}, {})
        assert "hat/val/00-000.png" in images_in(raw / "set")
        assert any("test and val are all for testing" in note for note in added.notes)

    def test_a_competitions_test_images_without_classes_are_left_out(self, tmp_path, add, save_images):
        for seed, name in enumerate(("train/hat", "train/shoe", "valid/hat", "valid/shoe", "test/unknown")):
            save_images(tmp_path / "set" / name, 2, seed=seed)
        added = add(tmp_path / "set")
        assert (added.classes, added.splits) == ({"hat": 4, "shoe": 4}, {"train": 4, "test": 4})
        assert added.skipped == {"images without a class, beside others with one": 2}

    def test_adding_again_appends_to_both(self, tmp_path, add, raw, save_images):
        for seed, top in enumerate(("train/hat", "train/shoe", "test/hat", "test/shoe")):
            save_images(tmp_path / "set" / top, 1, seed=seed)
        add(tmp_path / "set")
        before = (raw / "set.test" / "source.json").read_bytes()
        save_images(tmp_path / "set" / "test" / "hat", 1, seed=7)
        added = add(tmp_path / "set", choices=Choices(split=True))
        assert (added.added_images, added.kept_images) == (1, 4)
        assert (raw / "set.test" / "source.json").read_bytes() == before

    def test_a_name_that_was_added_without_a_split_is_not_added_twice(self, tmp_path, add, raw, save_images):
        for seed, top in enumerate(("train/hat", "train/shoe", "test/hat", "test/shoe")):
            save_images(tmp_path / "set" / top, 2, seed=seed)
        add(tmp_path / "set" / "train")
        with pytest.raises(ValueError, match=r"has a split .* was added without one; .*--as set-2, .*--no-split"):
            add(tmp_path / "set")
        assert [path.name for path in raw.iterdir()] == ["set"]

    def test_a_folder_with_another_meaning_is_not_overwritten(self, tmp_path, add, raw, save_images):
        save_images(tmp_path / "other", 2, seed=5)
        add(tmp_path / "other", "set.test")
        for seed, top in enumerate(("train", "test")):
            save_images(tmp_path / "set" / top, 2, seed=seed)
        with pytest.raises(ValueError, match=r"set\.test exists, and its source\.json does not assign .* --as set-2"):
            add(tmp_path / "set")
        assert [path.name for path in raw.iterdir()] == ["set.test"]
