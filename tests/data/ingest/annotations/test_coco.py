"""COCO's JSON beside images."""

import json

import pytest

from tests.data.ingest.trees import captions, coco, labels, read, write


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
