"""A chunk stays mapped, and sound, until another file is in its place or it is let go."""

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.storage import Lake, mapped_chunks
from actlake.storage.arrays import map_payload
from actlake.storage.durable import replace_file
from actlake.storage.errors import CorruptError
from tests.storage.conftest import Planted
from tests.storage.damaged import of_tensor, rotten


@pytest.fixture(scope="module")
def root(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake whose tests put back what they damage."""
    return Path(shutil.copytree(planted.root, tmp_path_factory.mktemp("reading") / "lake"))


def test_mapped_chunk__is_kept_until_another_file_is_in_its_place(root: Path) -> None:
    file = of_tensor(root) / "c.0.0"
    content = file.read_bytes()
    with closing(Lake.open(root)) as lake:
        tensor = lake.tensor("t:float32")
        first = tensor.shard(0)
        assert tensor.shard(0) is first
        try:
            replace_file(file, content)  # as repair does
            again = tensor.shard(0)
            assert again is not first
            assert np.array_equal(again, first)
            replace_file(file, content[:-8])
            with pytest.raises(CorruptError, match="bytes instead of"):
                tensor.shard(0)
            file.unlink()
            with pytest.raises(CorruptError, match="is missing"):
                tensor.shard(0)
            file.symlink_to(of_tensor(root) / "c.1.0")
            with pytest.raises(CorruptError, match="is a link"):
                tensor.shard(0)
            file.unlink()
        finally:
            replace_file(file, content)


@pytest.mark.parametrize("meanwhile", [False, True])
def test_first_read__looks_at_a_file_that_comes_in_the_place_of_another(
    root: Path, planted: Planted, monkeypatch: pytest.MonkeyPatch, *, meanwhile: bool
) -> None:
    file, rows = of_tensor(root) / "c.1.0", planted.tensors["float32"][4:8]
    sound = file.read_bytes()
    other = sound[:1] + bytes([sound[1] ^ 1]) + sound[2:]

    def then_put_back(*given: Any) -> NDArray[np.uint8]:
        payload = map_payload(*given)
        replace_file(file, sound)
        return payload

    with closing(Lake.open(root)) as lake:
        tensor = lake.tensor("t:float32")
        if not meanwhile:
            np.testing.assert_array_equal(tensor.shard(1), rows)
        replace_file(file, other)
        try:
            with monkeypatch.context() as patch:
                if meanwhile:  # what is summed is what is returned, whatever the file is by then
                    patch.setattr(mapped_chunks, "map_payload", then_put_back)
                with pytest.raises(CorruptError, match="not what was committed"):
                    tensor.shard(1)
        finally:
            replace_file(file, sound)
        np.testing.assert_array_equal(tensor.shard(1), rows)


def test_first_read__looks_again_at_what_was_let_go(root: Path, planted: Planted) -> None:
    """The system gives the number of a file that is gone to the next one."""
    file, rows = of_tensor(root) / "c.1.0", planted.tensors["float32"][4:8]
    sound = file.read_bytes()
    with closing(Lake.open(root)) as lake:
        tensor = lake.tensor("t:float32")
        np.testing.assert_array_equal(tensor.shard(1), rows)
        lake.reading.forget()
        try:
            with rotten(file), pytest.raises(CorruptError, match="not what was committed"):
                tensor.shard(1)
        finally:
            assert file.read_bytes() == sound
        np.testing.assert_array_equal(tensor.shard(1), rows)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no list of what is mapped")
def test_closed_lake__has_no_file_mapped(root: Path, tmp_path: Path) -> None:
    """Else its disk could not be taken away."""
    with closing(Lake.open(shutil.copytree(root, tmp_path / "lake"))) as lake:
        tensor = lake.tensor("t:float32")
        for shard in tensor.committed:
            tensor.shard(shard)
        assert str(tensor.folder) in Path("/proc/self/maps").read_text()
    assert str(tensor.folder) not in Path("/proc/self/maps").read_text()
