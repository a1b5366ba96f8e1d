from xml.etree import ElementTree

import pytest

from genai_core.reporting.dag import dag_svg, in_order

NAMESPACE = "{http://www.w3.org/2000/svg}"
PIPELINE = [
    ("prepare", "augment"),
    ("prepare", "reference"),
    ("augment", "train@gan"),
    ("augment", "train@diffusion"),
    ("train@gan", "evaluate@gan"),
    ("train@diffusion", "evaluate@diffusion"),
    ("reference", "evaluate@gan"),
    ("reference", "evaluate@diffusion"),
    ("evaluate@gan", "report"),
    ("evaluate@diffusion", "report"),
    ("prepare", "report"),
]


def boxes(svg):
    """Return (left, top, right, bottom) of each box."""
    found = []
    for rect in ElementTree.fromstring(svg).iter(f"{NAMESPACE}rect"):
        x, y, width, height = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
        found.append((x, y, x + width, y + height))
    return found


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{NAMESPACE}text")]


def test_every_stage_is_a_box_with_its_name_and_note():
    svg = dag_svg(PIPELINE, {"prepare": "3.1 s"})
    assert len(boxes(svg)) == 8
    assert texts(svg).count("train") == 2
    assert {"prepare", "3.1 s", "gan", "diffusion", "report"} <= set(texts(svg))


def test_boxes_do_not_overlap_and_are_inside_the_drawing():
    svg = dag_svg(PIPELINE)
    _, _, width, height = map(float, ElementTree.fromstring(svg).get("viewBox").split())
    found = boxes(svg)
    for index, (left, top, right, bottom) in enumerate(found):
        assert left >= 0
        assert top >= 0
        assert right <= width
        assert bottom <= height
        for other in found[index + 1 :]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart


def test_arrows_run_left_to_right_and_redundant_ones_are_omitted():
    svg = dag_svg([("a", "b"), ("b", "c"), ("a", "c")])
    lines = [path for path in ElementTree.fromstring(svg).iter(f"{NAMESPACE}path") if path.get("fill") == "none"]
    assert len(lines) == 2
    lefts = [box[0] for box in boxes(svg)]
    assert lefts == sorted(lefts)


def test_a_source_is_next_to_the_first_node_that_needs_it():
    svg = dag_svg([("a", "b"), ("b", "c"), ("late", "c")])
    places = dict(zip(texts(svg), [box[0] for box in boxes(svg)], strict=True))
    assert places["late"] == pytest.approx(places["b"], abs=20)


def test_the_order_of_the_edges_does_not_matter():
    assert dag_svg(PIPELINE) == dag_svg(reversed(PIPELINE))


def test_names_are_escaped():
    assert "<b>" in texts(dag_svg([("<b>", "c&d")]))


def test_cycles_and_no_edges_are_refused():
    with pytest.raises(ValueError, match="have a cycle"):
        dag_svg([("a", "b"), ("b", "a")])
    with pytest.raises(ValueError, match="got none"):
        dag_svg([])


def test_stages_are_in_topological_order():
    names = ["report", "evaluate@gan", "stray", "prepare"]
    assert in_order(names, PIPELINE) == ["prepare", "evaluate@gan", "report", "stray"]
