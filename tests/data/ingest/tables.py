"""Tables of labels for the forty images of the fixture `flat`."""

import json

import pandas as pd


def rows(count=40, file="file", label="label"):
    return [{file: f"00-{number:03d}.png", label: "hat" if number % 2 else "shoe"} for number in range(count)]


def write_table(path, records):
    table = pd.DataFrame(records)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
