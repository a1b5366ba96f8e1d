"""Labels stored as an array: a number or a text for each image, a one-hot vector, or several labels at once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ArrayLabels:
    """classes: the class name of each image, None if the values are no classes. what: how they were taken."""

    classes: list[str] | None
    what: str


def labels_of(values: npt.NDArray[Any], source: str) -> ArrayLabels:
    """Turn an array (N,), (N, 1, ...) or (N, K) into class names.

    Rows of K numbers are one-hot vectors if one number of each is 1 and the rest are 0. Other rows are several labels
    per image (ChestMNIST) or an embedding, which are not a class. Raises ValueError for any other array.
    """
    flat = values.reshape(len(values), -1)
    if flat.shape[1] == 1 and values.dtype.kind in "iuUb":
        kind = "texts" if values.dtype.kind == "U" else "numbers"
        return ArrayLabels([str(label) for label in flat[:, 0].tolist()], kind)
    if flat.shape[1] == 1 and values.dtype.kind == "S":
        return ArrayLabels([label.decode("utf-8", "replace") for label in flat[:, 0].tolist()], "texts")
    if flat.shape[1] > 1 and values.dtype.kind in "iubf":
        if np.isin(flat, (0, 1)).all() and (flat.sum(axis=1) == 1).all():
            return ArrayLabels([str(label) for label in flat.argmax(axis=1).tolist()], "one-hot vectors")
        return ArrayLabels(None, f"left out: {flat.shape[1]} numbers per image are not a class")
    raise ValueError(
        f"{source}: expected one integer or text per image, an array (N,), or one-hot rows (N, K), got "
        f"{values.dtype} {values.shape}"
    )
