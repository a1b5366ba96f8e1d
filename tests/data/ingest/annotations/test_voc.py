"""Pascal VOC's XML beside images."""

import pytest

from tests.data.ingest.trees import labels, read, write


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
