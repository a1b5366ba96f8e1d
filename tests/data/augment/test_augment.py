import numpy as np
import pytest

from genai_core.data.augment.augment import augment, plan_copies, raise_lowest
from genai_core.data.augment.policy import augment_images
from genai_core.data.dataset.dataset import load_dataset
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.image_size import ImageSize


def noise(count, channels=1, size=12, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, channels, size, size), dtype=np.uint8)


@pytest.fixture
def prepared(tmp_path):
    """30 cats, 6 dogs and 8 test images."""
    writer = DatasetWriter(
        tmp_path / "prepared", image_size=ImageSize.square(12), channels=1, classes=("cat", "dog"), shard_images=16
    )
    labels = np.array([0] * 30 + [1] * 6)
    writer.add("train", noise(36), labels, sources=[f"pets/{number}.png" for number in range(36)])
    writer.add("test", noise(8, seed=1), np.array([0, 1] * 4))
    writer.finish()
    return load_dataset(tmp_path / "prepared")


@pytest.fixture
def run(prepared, tmp_path, augment_config):
    def run_augment(name="augmented", dataset=prepared, **changes):
        (tmp_path / name).mkdir()
        augment(dataset, tmp_path / name, augment_config(**changes))
        return load_dataset(tmp_path / name)

    return run_augment


class TestDataset:
    def test_training_images_are_added_and_the_test_split_is_unchanged(self, run, prepared):
        after = run(expand=2.0)
        assert after.info.counts == {"train": 72, "test": 8}
        assert (after.images("test") == prepared.images("test")).all()
        assert (after.labels("test") == prepared.labels("test")).all()
        assert (after.images("train")[:36] == prepared.images("train")).all()

    def test_new_rows_name_their_origin(self, run):
        rows = run(expand=2.0, balance_classes=False).rows("train").set_index("id")
        new = rows[rows["flags"] != ""]
        assert len(new) == 36
        for name, row in new.iterrows():
            origin = rows.loc[row["flags"].removeprefix("augmented:")]
            assert name == f"{origin.name}-1"
            assert (row["label"], row["source"]) == (origin["label"], origin["source"])
            assert row["sha256"] != origin["sha256"]
        assert rows.index.is_unique

    def test_balancing_gives_the_rare_class_more(self, run):
        assert np.bincount(run("a", expand=1.5).labels("train")).tolist() == [30, 24]
        assert np.bincount(run("b", expand=2.0).labels("train")).tolist() == [36, 36]
        assert np.bincount(run("c", expand=2.0, balance_classes=False).labels("train")).tolist() == [60, 12]

    def test_a_factor_of_1_adds_nothing_and_shares_the_files(self, run, prepared):
        after = run(expand=1.0)
        assert after.info == prepared.info
        for folder in ("shards", "facts"):
            files = list((after.folder / folder).iterdir())
            assert {file.name for file in files} == set(prepared.manifest["shard"])
            assert all(file.samefile(prepared.folder / folder / file.name) for file in files)

    @pytest.mark.usefixtures("prepared")
    def test_policy_none_balances_by_repeating(self, run):
        after = run(expand=1.5, policy=())
        new = after.rows("train").iloc[36:]
        origins = after.rows("train").set_index("id").loc[new["flags"].str.removeprefix("augmented:")]
        assert np.bincount(after.labels("train")).tolist() == [30, 24]
        assert (after.images_at(new) == after.images_at(origins)).all()

    def test_shards_are_bounded_and_old_ones_are_kept(self, run, prepared):
        after = run(expand=3.0)
        assert after.manifest["shard"].value_counts().max() == 16
        assert set(prepared.manifest["shard"]) < set(after.manifest["shard"])

    def test_a_second_run_makes_the_same_bytes(self, run, tmp_path):
        run("a")
        run("b")
        for file in (tmp_path / "a").rglob("*.*"):
            assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()

    def test_unlabelled_images(self, run, tmp_path):
        writer = DatasetWriter(
            tmp_path / "faces", image_size=ImageSize.square(12), channels=3, classes=(), shard_images=16
        )
        writer.add("train", noise(5, 3))
        writer.add("test", noise(2, 3, seed=1))
        writer.finish()
        after = run(dataset=load_dataset(tmp_path / "faces"), expand=3.0)
        assert after.info.counts == {"train": 15, "test": 2}
        assert after.labels("train") is None

    def test_a_copy_stays_the_same_when_the_dataset_grows(self, run, prepared, tmp_path):
        writer = DatasetWriter(
            tmp_path / "more", image_size=ImageSize.square(12), channels=1, classes=("cat", "dog"), shard_images=16
        )
        writer.add("train", noise(9, seed=5), np.array([0, 1, 1] * 3))
        writer.keep(prepared, prepared.manifest)
        writer.finish()
        more = load_dataset(tmp_path / "more")
        before, after = (
            run(name, data, expand=2.0, balance_classes=False)
            for name, data in zip("ab", (prepared, more), strict=True)
        )
        old, new = (data.rows("train").set_index("id")["sha256"] for data in (before, after))
        assert len(new) == len(old) + 18
        assert (old == new[old.index]).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", [("flip", "move"), ("crop", "colour"), ("randaugment",)])
class TestSeeds:
    def test_copy_depends_only_on_its_origin_and_number(self, policy, channels, augment_config):
        images, ids = noise(12, channels), [f"id{number}" for number in range(12)]
        numbers = [1 + number % 3 for number in range(12)]
        config = augment_config(policy=policy)
        together = augment_images(images, ids, numbers, config)
        order = np.random.default_rng(0).permutation(12)
        shuffled = augment_images(images[order], [ids[i] for i in order], [numbers[i] for i in order], config)
        assert (together[order] == shuffled).all()
        for index in (0, 7):
            alone = augment_images(images[index : index + 1], ids[index : index + 1], [numbers[index]], config)
            assert (alone[0] == together[index]).all()

    def test_copies_images_and_seeds_differ(self, policy, channels, augment_config):
        image = np.repeat(noise(1, channels), 8, axis=0)
        config = augment_config(policy=policy)
        ids, numbers = ["a"] * 4 + list("bcde"), [1, 2, 3, 4, 1, 1, 1, 1]
        copies = [augment_images(image, ids, numbers, config.model_copy(update={"seed": seed})) for seed in (0, 1)]
        # With few operations, two copies may have the same ones.
        assert len({copy.tobytes() for copy in np.concatenate(copies)}) >= 13


class TestPlan:
    def test_every_image_gets_its_share(self, augment_config):
        ids = [f"{number}" for number in range(10)]
        assert plan_copies(ids, None, augment_config(expand=3.0)).tolist() == [2] * 10
        copies = plan_copies(ids, None, augment_config(expand=1.5))
        assert sorted(copies) == [0] * 5 + [1] * 5

    def test_plan_follows_content_not_order(self, augment_config):
        ids, labels = [f"{number}" for number in range(30)], np.arange(30) % 3
        order = np.random.default_rng(0).permutation(30)
        config = augment_config(expand=1.7)
        copies = plan_copies(ids, labels, config)
        assert (copies[order] == plan_copies([ids[i] for i in order], labels[order], config)).all()

    @pytest.mark.parametrize(
        ("counts", "new", "limit", "expected"),
        [
            ([5, 5], 10, 10, [5, 5]),
            ([8, 2], 6, 10, [0, 6]),
            ([8, 2], 8, 10, [1, 7]),
            ([8, 2], 7, 10, [1, 6]),
            ([100, 1], 100, 10, [90, 10]),
            ([10, 4, 1], 8, 10, [0, 3, 5]),
            ([3], 0, 0, [0]),
        ],
    )
    def test_smallest_classes_are_raised_first(self, counts, new, limit, expected):
        shares = raise_lowest(np.array(counts), new, limit)
        assert shares.sum() == new
        assert shares.tolist() == expected

    def test_shares_always_sum_to_the_total_and_keep_their_limit(self):
        random = np.random.default_rng(0)
        for _ in range(200):
            counts = random.integers(1, 50, random.integers(1, 8))
            expand = random.uniform(1, 4)
            limit = int(np.ceil(10 * (expand - 1)))
            new = round(int(counts.sum()) * (expand - 1))
            shares = raise_lowest(counts, new, limit)
            assert shares.sum() == new
            assert (shares >= 0).all()
            assert (shares <= limit * counts).all()
