"""TensorBoard's writer frames the records and Protocol Buffers encodes the Examples: neither is the project's code."""

import gzip

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorboard.summary.writer.record_writer import RecordWriter

from genai_core.data.ingest.packing.png import encode_png
from genai_core.data.ingest.readers import crc32c as crc32c_module
from genai_core.data.ingest.readers.crc32c import crc32c
from genai_core.data.ingest.readers.tf_example import parse_example
from tests.data.ingest.conftest import nothing_was_added


def example_class():
    """tf.train.Example, from the definition in TensorFlow's example.proto and feature.proto."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tf", syntax="proto3")

    def message(name, *fields):
        found = file.message_type.add(name=name)
        for number, (field, kind, of, repeated) in enumerate(fields, start=1):
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            found.field.add(name=field, number=number, type=kind, type_name=of, label=label)
        return found

    message("BytesList", ("value", kinds.TYPE_BYTES, None, True))
    message("FloatList", ("value", kinds.TYPE_FLOAT, None, True))
    message("Int64List", ("value", kinds.TYPE_INT64, None, True))
    feature = message(
        "Feature",
        *(
            (f"{kind.lower()}_list", kinds.TYPE_MESSAGE, f".tf.{kind}List", False)
            for kind in ("Bytes", "Float", "Int64")
        ),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = message("Features", ("feature", kinds.TYPE_MESSAGE, ".tf.Features.FeatureEntry", True))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    entry.field.add(
        name="value", number=2, type=kinds.TYPE_MESSAGE, type_name=".tf.Feature", label=kinds.LABEL_OPTIONAL
    )
    entry.options.map_entry = True
    message("Example", ("features", kinds.TYPE_MESSAGE, ".tf.Features", False))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tf.Example"))


EXAMPLE = example_class()


def example(**features):
    found = EXAMPLE()
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        feature = found.features.feature[name.replace("__", "/")]
        kind = {bytes: feature.bytes_list, float: feature.float_list, int: feature.int64_list}[type(values[0])]
        kind.value.extend(values)
    return found.SerializeToString()


def write(path, examples):
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for content in examples:
            writer.write(content)
    return path


def test_features_are_those_that_protocol_buffers_wrote():
    values = {"a": [-1, 0, 1 << 40], "b": [0.5, -2.0], "c": [b"", b"x" * 300], "d": 3}
    assert parse_example(example(**values)) == {**values, "d": [3]}


@pytest.mark.parametrize("has_library", [True, False])
def test_crc32c_of_the_standard(has_library, monkeypatch):
    assert crc32c_module._library is not None  # the extra `tfrecord`
    if not has_library:
        monkeypatch.setattr(crc32c_module, "_library", None)
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"123456789") == 0xE3069283


def test_tensorflow_datasets(tmp_path, read, pixels):
    images = [encode_png(image) for image in pixels(4)]
    folder = tmp_path / "pets"
    for number, split in enumerate(("train", "test")):
        part = images[2 * number : 2 * number + 2]
        examples = [example(image=image, label=index, id=b"x") for index, image in enumerate(part)]
        write(folder / f"pets-{split}.tfrecord-00000-of-00001", examples)
    (folder / "label.labels.txt").write_text("cat\ndog\n")
    reading, items = read(folder)
    assert {path: (item.label, item.split) for path, item in items.items()} == {
        "pets-test-00000-of-00001-000000.png": ("cat", "test"),
        "pets-test-00000-of-00001-000001.png": ("dog", "test"),
        "pets-train-00000-of-00001-000000.png": ("cat", "train"),
        "pets-train-00000-of-00001-000001.png": ("dog", "train"),
    }
    assert items["pets-train-00000-of-00001-000001.png"].content == images[1]
    assert (reading.understood.labels, reading.understood.split) == ("feature label", "names of the files")


def test_imagenets_names_and_captions_in_a_gzipped_file(tmp_path, read, pixels):
    [image] = [encode_png(image) for image in pixels(1)]
    features = {"image__encoded": image, "image__class__text": b"hat", "image__class__label": 7, "caption": b"a hat"}
    content = write(tmp_path / "plain", [example(**features)]).read_bytes()
    (tmp_path / "a.tfrecords.gz").write_bytes(gzip.compress(content))
    [item] = read(tmp_path / "a.tfrecords.gz")[1].values()
    assert (item.label, item.captions, item.content) == ("hat", ("a hat",), image)


def test_stylegans_raw_pixels_of_the_largest_resolution(tmp_path, read, pixels):
    images = pixels(2, 3)
    for level in ("03", "02"):
        examples = [example(shape=[3, 6, 5], data=image.transpose(2, 0, 1).tobytes()) for image in images]
        write(tmp_path / "ffhq" / f"ffhq-r{level}.tfrecords", examples)
    reading, items = read(tmp_path / "ffhq")
    assert list(items) == ["ffhq-r03-000000.png", "ffhq-r03-000001.png"]
    assert (items["ffhq-r03-000001.png"].content == images[1]).all()
    assert "only the largest is read: ffhq-r03.tfrecords" in reading.notes[-1]


def test_faulty_records_are_rejected(tmp_path, add, pixels):
    images = [encode_png(image) for image in pixels(2)]
    examples = [example(image=images[0], label=1), example(image=b"?" * 30, label=1), example(label=1)]
    added = add(write(tmp_path / "a.tfrecord", examples), max_rejected_share=0.7)
    assert [(file.source, file.reason) for file in added.rejected] == [
        ("a-000001", "no_image"),
        ("a-000002", "no_image"),
    ]


def test_no_feature_of_images(tmp_path, add, raw):
    with pytest.raises(ValueError, match=r"no feature can be the image; .* got a, b"):
        add(write(tmp_path / "a.tfrecord", [example(a=1, b=np.pi)]))
    assert nothing_was_added(raw)


def test_damaged_files(tmp_path, add, raw, pixels):
    image = encode_png(pixels(1)[0])
    good = write(tmp_path / "good.tfrecord", [example(image=image, label=1)] * 3).read_bytes()
    flipped, announced = bytearray(good), bytearray(good)
    flipped[len(good) // 2] ^= 0xFF
    announced[5] = 1
    for name, content, message in [
        ("cut", good[:-20], "truncated in record 2"),
        ("flipped", bytes(flipped), "checksum of record 1 is wrong"),
        ("announced", bytes(announced), "checksum of the length of record 0"),
        ("empty", b"", "contains no images"),
        ("html", b"<html>" * 40, "not a TFRecord file"),
        ("other", write(tmp_path / "other", [b"\x0f\xff"]).read_bytes(), "record 0 is not a tf.train.Example"),
    ]:
        (tmp_path / f"{name}.tfrecord").write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}\.tfrecord: .*{message}"):
            add(tmp_path / f"{name}.tfrecord")
    assert nothing_was_added(raw)


def test_the_first_record_may_lack_features(tmp_path, add, read, pixels):
    encoded = [encode_png(image) for image in pixels(40)]
    records = [example(image=encoded[0])]
    records += [
        example(image=image, label=index % 2, caption=b"hat %d" % index) for index, image in enumerate(encoded[1:])
    ]
    path = write(tmp_path / "hats.tfrecord", records)
    reading, items = read(path)
    assert [(item.label, item.captions) for item in items.values()][:2] == [("0", ("hat 0",)), ("1", ("hat 1",))]
    assert (reading.understood.labels, reading.understood.captions) == ("feature label", "feature caption")
    added = add(path, max_rejected_share=0.1)
    assert [(file.source, file.reason) for file in added.rejected] == [("hats-000000", "no_label")]
