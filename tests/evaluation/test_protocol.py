import pytest

from genai_core.evaluation.protocol import comparable


def test_equal_protocols_compare():
    comparable({"fd": 1, "protocol": {"seed": 1}}, {"fd": 2, "protocol": {"seed": 1}})


def test_each_difference_is_named():
    a = {"protocol": {"seed": 1, "generated_images": 2000, "extractor": "classifier"}}
    b = {"protocol": {"seed": 2, "generated_images": 2000}}
    with pytest.raises(ValueError, match=r"seed 1 and 2; extractor classifier and None") as error:
        comparable(a, b)
    assert "generated_images" not in str(error.value)


def test_a_file_without_a_protocol_is_not_comparable():
    with pytest.raises(ValueError, match="without a protocol"):
        comparable({"fd": 1}, {"fd": 1})
