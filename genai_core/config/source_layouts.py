"""Names of the layouts of an image folder, for `--layout`. Here because the command line imports no code for data."""

SOURCE_LAYOUTS = {
    "flat": "no classes; folders and tables give no labels",
    "class-folders": "the first folder below wrappers and splits is the class",
    "leaf-folders": "the last folder is the class",
    "file-names": "the class is the word before the number in a file's name: cat.0.jpg, dog_1.jpg",
    "table": "labels or captions are in tables (CSV, TSV, JSONL, Parquet, CelebA's lists)",
    "coco": "labels or captions are in COCO's JSON files",
    "voc": "labels are in Pascal VOC's XML files",
}
