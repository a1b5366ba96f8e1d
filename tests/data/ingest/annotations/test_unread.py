"""Files beside the images that may hold labels in a form that is not read: asked about, never silently left out."""

import json

import numpy as np
import pytest
from scipy.io import savemat

from tests.data.ingest.trees import labels, read, write


def as_via(names):
    return json.dumps({name: {"filename": name, "regions": [{"region_attributes": {"kind": "hat"}}]} for name in names})


def as_cvat(names):
    images = (f'<image id="{n}" name="{name}"><tag label="hat"/></image>' for n, name in enumerate(names))
    return f"<annotations>{''.join(images)}</annotations>"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("via_region_data.json", as_via),
        ("annotations.xml", as_cvat),
        ("project.json", lambda names: json.dumps([{"data": {"image": f"/data/upload/1/{name}"}} for name in names])),
        ("images_variant.txt", lambda names: "".join(f"{name[:-4]} A 300\n" for name in names)),
    ],
)
def test_a_text_that_names_the_images_is_asked_about(file, text, root, images):
    names = images("images", 6)
    write(root / file, text(names))
    with pytest.raises(ValueError, match=rf"{file} names the images, in a form that is not read; .* --layout flat"):
        read(root)
    assert set(labels(read(root, layout="flat")[1]).values()) == {None}


def test_tables_of_other_programs_are_asked_about(root, images):
    """As of Oxford Flowers and Stanford Cars."""
    images("jpg", 6)
    savemat(root / "imagelabels.mat", {"labels": np.arange(6)})
    with pytest.raises(ValueError, match=r"imagelabels\.mat may hold labels, .* into labels\.csv"):
        read(root)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("files.txt", "\n".join),
        ("images.md5", "\n".join),
        ("md5sums.txt", lambda names: "".join(f"d41d8cd98f00b204e9800998ecf8427e  {name}\n" for name in names)),
        ("README.txt", lambda names: f"Photographs such as {names[0]}, taken in 2020."),
        ("sample_submission.txt", lambda names: "".join(f"{name} 0\n" for name in names)),
    ],
)
def test_texts_without_labels_are_only_counted(file, text, root, images):
    names = images("", 6)
    write(root / file, text(names))
    assert set(labels(read(root)[1]).values()) == {None}


def test_class_folders_need_no_such_file(root, images):
    names = [*images("hat", 3), *images("shoe", 3)]
    write(root / "via_region_data.json", as_via(names))
    assert set(labels(read(root)[1]).values()) == {"hat", "shoe"}


@pytest.mark.parametrize(("lines", "is_asked"), [(8, True), (7, False)])
def test_a_text_with_a_line_for_each_image_is_asked_about(lines, is_asked, root, images):
    images("", 8)
    write(root / "prompts.txt", "".join(f"a hat on table {n}\n" for n in range(lines)))
    if is_asked:
        with pytest.raises(ValueError, match=r"prompts\.txt has a line for each image and names none; .*flat"):
            read(root)
    else:
        assert set(labels(read(root)[1]).values()) == {None}
