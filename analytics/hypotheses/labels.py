"""Labels of documents as numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def numbered(labels: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The number of each label among the distinct ones, -1 where it is missing, and these.

    Missing is None or NaN. Distinct labels ascend, so the labels of one array have to compare.
    """
    missing = np.array([label is None or label != label for label in labels.tolist()], np.bool_)
    distinct, number = np.unique(labels[~missing], return_inverse=True)
    numbers = np.full(len(labels), -1, np.int64)
    numbers[~missing] = number
    return numbers, distinct


def one_versus_rest(labels: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Targets of shape (documents, classes), 1 for the class and 0 for others, and the classes.

    NaN in all columns where the label is missing.
    """
    number, classes = numbered(labels)
    targets = (number[:, None] == np.arange(len(classes))).astype(np.float64)
    targets[number < 0] = np.nan
    return targets, classes


def is_constant_within(unit: NDArray[np.int64], y: NDArray[np.float64]) -> bool:
    """Whether all documents of each ``unit``, numbered from 0, have one value of ``y``."""
    value = np.empty(unit.max(initial=-1) + 1)
    value[unit] = y
    return bool((value[unit] == y).all())
