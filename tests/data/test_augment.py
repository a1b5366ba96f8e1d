import numpy as np
import pytest
import torch

from genai_core.data.augment import Change, _changed, augment, augment_images, draw_change, plan_copies, raise_lowest
from genai_core.data.dataset import load_dataset
from genai_core.data.writer import DatasetWriter

STILL = {
    "horizontal_flip": False,
    "rotate_degrees": 0.0,
    "translate_share": 0.0,
    "zoom_share": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
}
NO_CHANGE = Change(False, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0)


@pytest.fixture(autouse=True)
def one_thread():
    # As in the task: images are too small to share.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def noise(count, channels=1, size=12, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, channels, size, size), dtype=np.uint8)


def changed(image, **values):
    return _changed(torch.from_numpy(image), Change(**{**NO_CHANGE.__dict__, **values})).numpy()


@pytest.fixture
def prepared(tmp_path):
    """30 cats, 6 dogs and 8 test images."""
    writer = DatasetWriter(tmp_path / "prepared", image_size=12, channels=1, classes=("cat", "dog"), shard_images=16)
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
    def test_training_images_grow_and_the_test_split_stays(self, run, prepared):
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

    def test_one_adds_nothing(self, run, prepared):
        assert run(expand=1.0).info == prepared.info

    def test_shards_stay_bounded_and_those_of_before_stay(self, run, prepared):
        after = run(expand=3.0)
        assert after.manifest["shard"].value_counts().max() == 16
        assert set(prepared.manifest["shard"]) < set(after.manifest["shard"])

    def test_a_second_run_makes_the_same_bytes(self, run, tmp_path):
        run("a")
        run("b")
        for file in (tmp_path / "a").rglob("*.*"):
            assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()

    def test_unlabelled_images(self, run, tmp_path):
        writer = DatasetWriter(tmp_path / "faces", image_size=12, channels=3, classes=(), shard_images=16)
        writer.add("train", noise(5, 3))
        writer.add("test", noise(2, 3, seed=1))
        writer.finish()
        after = run(dataset=load_dataset(tmp_path / "faces"), expand=3.0)
        assert after.info.counts == {"train": 15, "test": 2}
        assert after.labels("train") is None


class TestSeeds:
    def test_copy_depends_on_its_origin_and_number_alone(self, augment_config):
        images, ids, numbers = (
            noise(20),
            [f"id{number}" for number in range(20)],
            [1 + number % 3 for number in range(20)],
        )
        config = augment_config(horizontal_flip=True, brightness=0.2, contrast=0.2)
        together = augment_images(images, ids, numbers, config)
        order = np.random.default_rng(0).permutation(20)
        shuffled = augment_images(images[order], [ids[i] for i in order], [numbers[i] for i in order], config)
        assert (together[order] == shuffled).all()
        alone = augment_images(images[7:8], ids[7:8], numbers[7:8], config)
        assert (alone[0] == together[7]).all()

    def test_copies_and_seeds_differ(self, augment_config):
        changes = {draw_change("id", number, 16, augment_config(seed=seed)) for number in (1, 2, 3) for seed in (0, 1)}
        assert len(changes) == 6

    def test_draws_are_uniform_in_the_ranges_of_the_config(self, augment_config):
        config = augment_config(
            horizontal_flip=True,
            rotate_degrees=10.0,
            translate_share=0.25,
            zoom_share=0.5,
            brightness=0.2,
            contrast=0.4,
        )
        drawn = [draw_change(f"{number}", 1, 16, config) for number in range(4000)]
        half_ranges = {
            "angle_degrees": 10,
            "shift_x_px": 4,
            "shift_y_px": 4,
            "scale": 0.5,
            "brightness": 0.2,
            "contrast": 0.4,
        }
        for name, half in half_ranges.items():
            values = np.array([getattr(change, name) for change in drawn])
            middle = 1 if name in ("scale", "brightness", "contrast") else 0
            assert np.abs(values - middle).max() <= half
            # Mean and standard deviation of a uniform distribution, half / sqrt(3), at four standard errors.
            assert abs(values.mean() - middle) < 4 * half / 3**0.5 / 4000**0.5
            assert values.std() == pytest.approx(half / 3**0.5, rel=0.04)
        assert 0.46 < np.mean([change.flip for change in drawn]) < 0.54

    def test_no_flip_unless_told(self, augment_config):
        config = augment_config(horizontal_flip=False)
        assert not any(draw_change(f"{number}", 1, 16, config).flip for number in range(100))

    def test_policy_of_nothing_repeats_the_image(self, augment_config):
        images = noise(5)
        assert (augment_images(images, list("abcde"), [1] * 5, augment_config(**STILL)) == images).all()


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
    def test_lowest_are_raised_first(self, counts, new, limit, expected):
        shares = raise_lowest(np.array(counts), new, limit)
        assert shares.sum() == new
        assert shares.tolist() == expected

    def test_shares_always_add_up_and_keep_their_limit(self):
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


class TestChanges:
    def test_flip(self):
        image = noise(1)[0]
        assert (changed(image, flip=True) == image[:, :, ::-1]).all()

    def test_whole_pixels_of_shift_move_the_image_to_the_right_and_down(self):
        image = np.zeros((1, 12, 12), dtype=np.uint8)
        image[:, 4:8, 4:8] = noise(1, size=4)[0]
        assert (changed(image, shift_x_px=2.0, shift_y_px=1.0)[:, 5:9, 6:10] == image[:, 4:8, 4:8]).all()

    def test_half_a_turn_turns(self):
        image = np.zeros((1, 12, 12), dtype=np.uint8)
        image[:, 2:10, 2:10] = noise(1, size=8)[0]
        assert np.abs(changed(image, angle_degrees=180.0).astype(int) - image[:, ::-1, ::-1]).max() <= 1

    def test_brightness_and_contrast(self):
        image = np.full((1, 12, 12), 100, dtype=np.uint8)
        assert (changed(image, brightness=1.2) == 120).all()
        image[:, :6] = 50
        # About the mean, 75.
        assert set(changed(image, contrast=2.0).ravel().tolist()) == {25, 125}

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("level", [0, 130, 255])
    def test_plain_ground_goes_on(self, channels, level):
        image = np.full((channels, 12, 12), level, dtype=np.uint8)
        image[:, 5:7, 5:7] = 255 - level
        result = changed(image, angle_degrees=30.0, shift_x_px=3.0, scale=0.7)
        ring = np.concatenate([result[:, 0], result[:, -1], result[:, :, 0], result[:, :, -1]], axis=1)
        assert (ring == level).all()

    def test_full_picture_is_mirrored_at_its_edge(self):
        # A ramp: what comes in at the left must be its own dark side, not one flat colour or black.
        image = np.tile(np.linspace(60, 200, 12).astype(np.uint8), (1, 12, 1))
        result = changed(image, shift_x_px=3.0)
        assert (result[:, :, 3:] == image[:, :, :-3]).all()
        assert (result[:, :, :3] == image[:, :, 3:0:-1]).all()

    @pytest.mark.parametrize("scale", [0.3, 1.0, 1.9])
    @pytest.mark.parametrize("angle_degrees", [-180.0, -45.0, 1.0, 90.0])
    def test_strong_changes_keep_the_size_and_show_no_hole(self, scale, angle_degrees):
        image = np.random.default_rng(0).integers(100, 200, (3, 16, 16), dtype=np.uint8)
        result = changed(image, angle_degrees=angle_degrees, shift_x_px=8.0, shift_y_px=-8.0, scale=scale)
        assert result.shape == image.shape
        assert result.min() >= 100
