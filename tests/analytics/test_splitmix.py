import numpy as np
import pytest

from actlake.analytics.splitmix import splitmix64


def test_splitmix64__is_the_published_generator() -> None:
    # The reference generator seeded with 1234567; its n-th output mixes seed + n·constant.
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    found = [int(splitmix64(np.array([1234567]), seed=n)[0]) for n in range(5)]
    assert found == published


@pytest.mark.parametrize("seed", [0, 1, -1, 2**70])
def test_splitmix64__never_collides_and_keeps_the_shape(seed: int) -> None:
    keys = np.arange(-500, 20_000).reshape(2, -1)
    hashes = splitmix64(keys, seed)
    assert hashes.shape == keys.shape
    assert len(np.unique(hashes)) == keys.size
