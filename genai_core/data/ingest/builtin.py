"""Built-in dataset without a download: scikit-learn's handwritten digits, as image files."""

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("digits",)


def write_digits(folder: Path) -> None:
    """Write <class>/<number>.png: 1,797 real 8 x 8 images of ten digits, 16 grey levels scaled to 0..255.

    A part of the UCI dataset "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998).
    """
    from sklearn.datasets import load_digits  # takes over a second to import

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    for number, (image, label) in enumerate(zip(images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
