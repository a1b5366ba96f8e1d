import numpy as np

from genai_core.evaluation.groups import group_by_similarity


def test_each_separate_kind_is_its_own_group():
    generator = np.random.default_rng(0)
    kinds = np.repeat(np.arange(6), 50)
    features = (10 * np.eye(6)[kinds] + generator.normal(0, 0.5, (300, 6))).astype(np.float32)
    groups = group_by_similarity(features, seed=0)
    assert len(set(zip(kinds.tolist(), groups.tolist(), strict=True))) == 6
    assert (group_by_similarity(features, seed=0) == groups).all()


def test_few_images_form_few_groups():
    features = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    assert set(group_by_similarity(features, seed=0)) == {0, 1}
    assert set(group_by_similarity(features[:20], seed=0)) == {0}
