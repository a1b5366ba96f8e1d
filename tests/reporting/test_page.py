from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from genai_core.reporting.curves import curve_svg
from genai_core.reporting.dag import dag_svg
from genai_core.reporting.grids import image_grid, png_bytes
from genai_core.reporting.page import (
    Page,
    Picture,
    Robustness,
    SearchLink,
    StageCost,
    Training,
    render_page,
    seconds_text,
)
from genai_core.reporting.summary import summarise
from tests.reporting.test_summary import measured

HOSTILE = '"><script>alert(1)</script>'
VOID = {"meta", "img", "br", "link", "input"}


class Parser(HTMLParser):
    """Checks that tags are closed in order; collects tags, URLs and text."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.urls, self.text = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.urls += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]

    def handle_startendtag(self, tag, _attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(page):
    parser = Parser()
    parser.feed(render_page(page))
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture
def page():
    png = png_bytes(image_grid(np.zeros((4, 1, 4, 4), np.uint8), 2))
    picture = Picture("Generated", png, "by the candidate", ("cat", "dog"))
    return Page(
        title="A report",
        created="1 May",
        summary=summarise([measured("one", "a"), measured("two", "b")], "b"),
        hero=picture,
        comparison=(picture, picture),
        trainings=(Training("one", (curve_svg("loss", np.arange(3.0), np.arange(3.0)),), (picture,)),),
        robustness=(Robustness("real", (curve_svg("fd, blur", np.arange(3.0), np.arange(3.0)),), "of <all>"),),
        lineage=dag_svg([("data", "model")], label="lineage"),
        dag=dag_svg([("a", "b")]),
        dag_missing="",
        costs=(StageCost("train", 4.0, 700), StageCost("prepare", 1.0, 100)),
        versions={"Data": {"fingerprint": "0123456789ab" * 5}},
        parameters={"data": {"image_size": 16, "background": [0, 0, 0]}, "models": {"one": {"network": {"width": 9}}}},
        searches=(),
    )


def test_the_page_is_well_formed_and_self_contained(page):
    parser = parsed(page)
    assert parser.urls
    assert all(url.startswith("data:image/png;base64,") for url in parser.urls)
    html = render_page(page)
    assert "@import" not in html
    assert "url(" not in html
    assert "<script" not in html
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")


def test_the_verdict_comes_first_then_the_models(page):
    text = " ".join(parsed(page).text)
    assert text.index("A report") < text.index("The candidate is two") < text.index("Models")
    assert "candidate" in text
    assert "models" not in parsed(page).open


def test_parameters_and_versions_are_shown_with_truncated_hashes(page):
    text = [part.strip() for part in parsed(page).text]
    assert "one.network.width" in text
    assert "0, 0, 0" in text
    assert "0123456789ab" in text


def test_searches_are_linked_if_there_are_any(page):
    assert "Searches" not in parsed(page).text
    link = SearchLink("3ed736d1", "../search/3ed736d1/report.html", "12 trials")
    assert "../search/3ed736d1/report.html" in parsed(replace(page, searches=(link,))).urls


def test_the_page_has_dark_and_print_styles(page):
    html = render_page(page)
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert 'name="viewport"' in html


def test_hostile_names_are_escaped_everywhere(page):
    model = measured(HOSTILE, "b")
    hostile = replace(
        page,
        title=HOSTILE,
        summary=summarise([model], "b"),
        hero=replace(page.hero, title=HOSTILE, note=HOSTILE, rows=(HOSTILE, HOSTILE)),
        trainings=(Training(HOSTILE, (curve_svg(HOSTILE, np.arange(3.0), np.arange(3.0)),), ()),),
        lineage=dag_svg([("data", HOSTILE)], label=HOSTILE),
        dag=dag_svg([(HOSTILE, "b")]),
        costs=(StageCost(HOSTILE, 1.0, 1),),
        versions={HOSTILE: {HOSTILE: HOSTILE}},
        parameters={HOSTILE: {HOSTILE: HOSTILE}},
        searches=(SearchLink(HOSTILE, HOSTILE, HOSTILE),),
    )
    parser = parsed(hostile)
    assert "script" not in parser.tags
    assert sum(HOSTILE in part for part in parser.text) >= 10


def test_a_missing_graph_is_explained(page):
    text = " ".join(parsed(replace(page, dag=None, dag_missing="dvc said <no>")).text)
    assert "The graph is missing: dvc said <no>" in text


def test_figures_that_were_not_measured_are_dashes(page):
    model = measured("m", "a")
    metrics = {name: value for name, value in model.metrics.items() if "is_" not in name and name != "label_agreement"}
    bare = replace(page, summary=summarise([replace(model, metrics=metrics, training_cost={})], "a"), costs=())
    text = [part.strip() for part in parsed(bare).text]
    assert "\N{EN DASH}" in text
    # The words are in the table's head, but not among the figures at the top.
    assert "Label agreement" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (7.26, "7.3 s"), (61.2, "1 min 1 s"), (7384, "2 h 3 min"), (None, "\N{EN DASH}")],
)
def test_durations_have_suitable_units(seconds, text):
    assert seconds_text(seconds) == text
