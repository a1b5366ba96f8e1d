import json

import pytest

from tests.data.ingest import trees
from tests.data.ingest.conftest import nothing_was_added
from tests.data.ingest.tables import rows, write_table
from tests.packed import files_in

# Line ends of str.splitlines that are not line ends of a table.
LINE_SIGNS = ("\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")


class TestTable:
    @pytest.mark.parametrize("name", ["labels.csv", "anything.csv", "labels.tsv", "metadata.jsonl", "labels.parquet"])
    @pytest.mark.parametrize(("file", "label"), [("file", "label"), ("file_name", "class"), ("Image Path", "Category")])
    def test_every_form_labels_flat_images(self, name, file, label, flat, add, raw, images_in):
        write_table(flat / name, rows(file=file, label=label))
        added = add(flat)
        assert added.classes == {"hat": 20, "shoe": 20}
        assert added.understood.labels == f"the column {label} of {name}"
        assert "hat/00-001.png" in images_in(raw / "set")

    def test_columns_without_known_names_are_found_by_their_content(self, flat, add):
        write_table(flat / "labels.csv", rows(file="a", label="b"))
        assert add(flat).classes == {"hat": 20, "shoe": 20}

    def test_table_above_the_images_and_names_without_ending(self, tmp_path, flat, add, raw, images_in):
        flat.rename(tmp_path / "whole")
        (tmp_path / "flat").mkdir()
        (tmp_path / "whole").rename(tmp_path / "flat" / "images")
        records = [{"id": record["file"].removesuffix(".png"), "breed": record["label"]} for record in rows()]
        write_table(tmp_path / "flat" / "labels.csv", records)
        assert add(tmp_path / "flat").classes == {"hat": 20, "shoe": 20}
        assert "hat/00-001.png" in images_in(raw / "set")

    def test_semicolons_and_a_byte_order_mark(self, flat, add):
        lines = "".join(f"{record['file']};{record['label']}\n" for record in rows())
        (flat / "labels.csv").write_text("\ufefffile;label\n" + lines)
        assert add(flat).classes == {"hat": 20, "shoe": 20}

    @pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.jsonl"])
    @pytest.mark.parametrize("ends", ["\n", "\r\n"])
    def test_only_line_feeds_end_a_row(self, name, ends, flat, add):
        """U+2028, U+0085 and the like are text in CSV and JSON, but line ends for str.splitlines."""
        records = [{**record, "caption": f"a{sign}b"} for record, sign in zip(rows(8), LINE_SIGNS, strict=True)]
        if name.endswith(".jsonl"):
            # JSON escapes control characters below U+0020 and keeps the others.
            lines = [json.dumps(record, ensure_ascii=record["caption"][1] < " ") for record in records]
        else:
            sign = "\t" if name.endswith(".tsv") else ","
            lines = [sign.join(records[0]), *(sign.join(record.values()) for record in records)]
        for image in sorted(flat.iterdir())[8:]:
            image.unlink()
        (flat / name).write_text("".join(line + ends for line in lines), encoding="utf-8", newline="")
        added = add(flat)
        assert (added.classes, added.rejected) == ({"hat": 4, "shoe": 4}, ())

    def test_quoted_line_end_in_a_csv_is_text(self, flat, add):
        lines = "".join(f'{record["file"]},{record["label"]},"two\nlines"\n' for record in rows())
        (flat / "labels.csv").write_text("file,label,caption\n" + lines)
        assert add(flat).classes == {"hat": 20, "shoe": 20}

    def test_whole_numbers_with_gaps_stay_integers(self, flat, add):
        records = [{"file": record["file"], "label": number % 2} for number, record in enumerate(rows())]
        records[7]["label"] = None
        write_table(flat / "labels.parquet", records)
        added = add(flat)
        assert added.classes == {"0": 20, "1": 19}
        assert [(file.source, file.reason) for file in added.rejected] == [("00-007.png", "no_label")]

    def test_unknown_columns_are_listed(self, flat, add, raw):
        write_table(flat / "notes.csv", [{"who": "me", "when": "now", "what": "x"}])
        with pytest.raises(ValueError, match=r"no file column among who, when, what, none of them names an image"):
            add(flat)
        write_table(flat / "notes.csv", [{"file": "00-001.png", "when": "now", "what": "x"}])
        with pytest.raises(
            ValueError,
            match=r"no label column can be told among when, what; choose one, --label-column when",
        ):
            add(flat)
        assert nothing_was_added(raw)

    def test_two_tables_are_an_error(self, flat, add):
        write_table(flat / "a.csv", rows())
        write_table(flat / "b.csv", rows())
        with pytest.raises(
            ValueError,
            match=r"several tables could hold the labels: a\.csv, b\.csv; rename the right one to labels\.csv",
        ):
            add(flat)
        (flat / "b.csv").rename(flat / "labels.csv")
        assert add(flat).understood.labels == "the column label of labels.csv"

    def test_faulty_rows_are_skipped_and_listed(self, flat, add):
        records = [*rows(39), {"file": "gone.png", "label": "hat"}, {"file": "00-003.png", "label": "shoe"}]
        write_table(flat / "labels.csv", records)
        added = add(flat, max_rejected_share=0.1)
        assert {(file.source, file.reason, file.detail) for file in added.rejected} == {
            ("gone.png", "missing_file", "labels.csv row 40: no such image"),
            ("00-003.png", "two_labels", "labels.csv says hat and shoe"),
            ("00-039.png", "no_label", "labels.csv has no row for it"),
        }
        assert added.added_images == 38

    def test_too_many_faults_stop_with_counts_and_the_first(self, flat, add, raw):
        write_table(flat / "labels.csv", rows(30))
        with pytest.raises(ValueError, match=r"nothing was added: 10 of 40 .*\(0\.05\) allows: no_label 10;") as error:
            add(flat)
        assert "\n  00-030.png: no_label: labels.csv has no row for it" in str(error.value)
        assert nothing_was_added(raw)

    def test_no_row_matches_an_image(self, flat, add):
        write_table(flat / "labels.csv", [{"file": "x.png", "label": "1"}])
        with pytest.raises(ValueError, match=r"none of its 1 rows names an existing image; the first: x\.png"):
            add(flat)

    def test_a_row_with_a_path_outside_matches_nothing(self, flat, add, tmp_path, save_images):
        (secret,) = save_images(tmp_path / "secret", 1, seed=9)
        write_table(flat / "labels.csv", [*rows(), {"file": f"../secret/{secret}", "label": "hat"}])
        assert [file.reason for file in add(flat).rejected] == ["missing_file"]

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("labels.csv", b"file,label\n\xff\xfe,a\n", "not UTF-8"),
            ("labels.csv", b"", "a unique name for every column"),
            ("labels.csv", b"file,file\n", "a unique name"),
            ("labels.csv", b"file,label\na,b,c\n", "row 1 has more values"),
            ("labels.jsonl", b"{\n", "damaged, or not a table"),
            ("labels.jsonl", b"[1]\n", "line 1 is not an object"),
            ("labels.jsonl", b"[" * 100_000, "damaged, or not a table"),
            ("labels.parquet", b"<html>", "damaged, or not a table"),
            ("labels.csv", b"file,label,split\n00-001.png,a,maybe\n", "split is 'maybe'; expected train"),
        ],
    )
    def test_damaged_tables(self, name, content, message, flat, add, raw):
        (flat / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}.*{message}"):
            add(flat)
        assert nothing_was_added(raw)

    def test_class_folders_win_over_a_table_of_another_name(self, tmp_path, add, save_images):
        save_images(tmp_path / "set" / "hat", 2)
        save_images(tmp_path / "set" / "shoe", 2)
        write_table(tmp_path / "set" / "prices.csv", [{"what": "hat", "price": 3}])
        added = add(tmp_path / "set")
        assert added.classes == {"hat": 2, "shoe": 2}
        assert added.skipped == {".csv files": 1}


class TestLabels:
    @pytest.mark.parametrize("label", ["../x", "a/b", "a\\b"])
    def test_a_label_is_one_folder_whatever_its_text(self, label, flat, add, raw):
        write_table(flat / "labels.csv", [{**record, "label": "ok" + label} for record in rows()])
        (name,) = add(flat).classes
        assert {path.split("/")[0] for path in files_in(raw / "set")} == {name}
        assert [path.name for path in raw.iterdir()] == ["set"]

    @pytest.mark.parametrize("label", ["..", ".hidden", "__MACOSX", "new\u2028line", "x" * 300])
    def test_labels_that_cannot_be_folder_names_are_faults(self, label, flat, add):
        records = rows()
        records[0]["label"] = label
        write_table(flat / "labels.jsonl", records)
        assert [(file.source, file.reason) for file in add(flat).rejected] == [("00-000.png", "bad_label")]

    def test_two_labels_with_one_folder_name(self, flat, add, raw):
        write_table(
            flat / "labels.csv", [{**record, "label": "a/b" if n else "a-b"} for n, record in enumerate(rows())]
        )
        with pytest.raises(ValueError, match=r"the labels 'a.b' and 'a.b' would share the folder a-b"):
            add(flat)
        assert nothing_was_added(raw)

    def test_images_next_to_class_folders_are_faults(self, tmp_path, add, save_images):
        save_images(tmp_path / "set" / "hat", 30)
        save_images(tmp_path / "set" / "shoe", 30)
        save_images(tmp_path / "set", 1, seed=5)
        assert [(file.source, file.reason) for file in add(tmp_path / "set").rejected] == [("05-000.png", "no_label")]


@pytest.mark.parametrize("where", ["captions.csv", "texts", None])
def test_classes_in_file_names_are_no_question_where_captions_are(where, root, save_images):
    names = [f"{word}_{number}.png" for word in ("cat", "dog") for number in range(5)]
    for old, new in zip(save_images(root, 10), names, strict=True):
        (root / old).rename(root / new)
    if where is None:
        with pytest.raises(ValueError, match=r"2 words .*choose --layout file-names"):
            trees.read(root)
        return
    if where == "texts":
        for name in names:
            trees.write(root / f"{name[:-4]}.txt", f"a photograph of {name}")
    else:
        trees.write_csv(root / where, file=names, caption=[f"a photograph of {name}" for name in names])
    reading, said = trees.read(root)
    assert said["cat_0.png"] == (None, None, ("a photograph of cat_0.png",))
    assert "2 words (cat 5, dog 5); if these are classes, add with --layout file-names" in reading.notes[0]


def test_an_empty_text_does_not_hide_a_caption_file(root, images):
    for name, text in zip(images("", 3), ("", "read", "one"), strict=True):
        trees.write(root / f"{name[:-4]}.txt", text)
        trees.write(root / f"{name[:-4]}.caption", "the other")
    reading, said = trees.read(root)
    assert [*trees.captions(said).values()] == [("the other",), ("read",), ("one",)]
    assert reading.skipped == {".caption files": 2, ".txt files": 1}
