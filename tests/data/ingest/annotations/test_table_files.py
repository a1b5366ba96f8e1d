import pytest

from genai_core.data.ingest.annotations.table_files import is_list, read_table


def read(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    return read_table(folder, name)


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("a.csv", "file,label\n1.jpg,hat\n2.jpg,\n", {"file": ["1.jpg", "2.jpg"], "label": ["hat", ""]}),
        ("a.csv", "file| label\n1.jpg| hat\n", {"file": ["1.jpg"], "label": [" hat"]}),
        ("a.csv", "sep=;\nfile;label\n1.jpg;hat\n", {"file": ["1.jpg"], "label": ["hat"]}),  # as Excel writes
        ("a.csv", "1.jpg;hat\n2.jpg;shoe\n", {"column 1": ["1.jpg", "2.jpg"], "column 2": ["hat", "shoe"]}),
        ("a.csv", "file,label\n\n1.jpg\n", {"file": ["1.jpg"], "label": [None]}),
        ("a.jsonl", '{"file": "1.jpg"}\n\n{"label": 3}\n', {"file": ["1.jpg", None], "label": [None, 3]}),
        ("train.txt", "1.jpg\n2.jpg\n", {"file": ["1.jpg", "2.jpg"]}),
        ("train.txt", "1.jpg 0\n2.jpg 1\n", {"file": ["1.jpg", "2.jpg"], "label": ["0", "1"]}),
        ("list_attr.txt", "1\nA B\n1.jpg -1  1\n", {"file": ["1.jpg"], "A": ["-1"], "B": ["1"]}),
        ("list_eval_partition.txt", "1.jpg 2\n", {"file": ["1.jpg"], "partition": ["2"]}),
        ("captions.txt", "image,caption\n1.jpg,a hat\n", {"image": ["1.jpg"], "caption": ["a hat"]}),
    ],
)
def test_forms(name, text, columns, tmp_path):
    table = read(tmp_path, name, text)
    assert table.columns == columns
    assert {len(values) for values in columns.values()} == {table.total_rows}


@pytest.mark.parametrize(
    ("name", "text"), [("train.txt", "1.jpg\n2.jpg a b\n"), ("list_attr.txt", "1\nA\n1.jpg 1 1\n")]
)
def test_ragged_lists_are_no_tables(name, text, tmp_path):
    with pytest.raises(ValueError, match=rf"{name}: damaged, or not a table"):
        read(tmp_path, name, text)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_encodings_with_a_mark(encoding, tmp_path):
    (tmp_path / "a.csv").write_text("file\tlabel\n1.jpg\tH\u00fcte\n", encoding=encoding)
    assert read_table(tmp_path, "a.csv").columns == {"file": ["1.jpg"], "label": ["H\u00fcte"]}


def test_an_encoding_without_a_mark_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes("file,label\n1.jpg,H\u00fcte\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"not UTF-8; save it as UTF-8 \(in Excel: CSV UTF-8\)"):
        read_table(tmp_path, "a.csv")


def test_texts_that_are_no_lists():
    assert [
        name for name in ("README.txt", "classes.txt", "1.txt", "a/val.txt", "list_attr_celeba.txt") if is_list(name)
    ] == [
        "a/val.txt",
        "list_attr_celeba.txt",
    ]
