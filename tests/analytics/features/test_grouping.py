"""What is done group by group, against what Python says of each."""

import numpy as np

from actlake.analytics.features.grouping import consecutive


def test_consecutive__ranges_have_every_element_once_and_weigh_no_more_than_they_may() -> None:
    weights = np.array([4, 6, 1, 30, 0, 5, 5, 1])
    assert consecutive(weights, 10) == [(0, 2), (2, 3), (3, 4), (4, 7), (7, 8)]
    assert consecutive(np.zeros(3, np.int64), 10) == [(0, 3)]
    assert consecutive(np.zeros(0, np.int64), 10) == []
