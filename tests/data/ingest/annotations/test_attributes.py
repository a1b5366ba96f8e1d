"""Lists of attributes, as CelebA has them."""

import pytest

from tests.data.ingest.trees import labels, read, splits, write, write_csv


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
