"""A shard is committed once, whatever other writers do to its table meanwhile."""

from collections import Counter
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import numpy as np

from actlake.storage import Lake
from actlake.storage.arrays import Chunk
from actlake.storage.durable import Digest
from actlake.storage.errors import InputError
from actlake.storage.merging import merge_small_files
from actlake.storage.shards import Receipt, receipts_table, refuse_committed
from actlake.storage.transaction import Transaction


class ShardTests:
    """With the fixture ``pair``, the folders of two empty lakes."""

    def test_refuse_committed__among_others_who_append_delete_and_merge(
        self, pair: tuple[Path, Path]
    ) -> None:
        random = np.random.default_rng(5)
        committed: set[tuple[str, int]] = set()
        outcomes = Counter[str]()
        with ExitStack() as resources:
            runs = []
            for number in range(3):
                lake = resources.enter_context(closing(Lake.open(pair[0])))
                runs.append(resources.enter_context(lake.run("append", {"writer": number}, {})))
            for _ in range(110):
                run = runs[random.integers(len(runs))]
                owner = "abcd"[random.integers(4)]
                chance = random.random()
                if chance < 0.04:
                    run.commit(partial(_delete, owner), "x")
                    committed = {one for one in committed if one[0] != owner}
                elif chance < 0.12:
                    outcomes["merged"] += "shards" in {one.table for one in merge_small_files(run)}
                else:
                    first = int(random.integers(90))
                    shards = range(first, first + int(random.integers(1, 4)))
                    # Often of several owners, in files whose ranges take in those between.
                    owners = {owner, "abcd"[random.integers(4)]}
                    keys = {(one, shard) for one in owners for shard in shards}
                    receipts = [_receipt(*key) for key in sorted(keys)]
                    try:
                        run.append(
                            {"shards": receipts_table(receipts)},
                            "x",
                            check=partial(refuse_committed, receipts=receipts),
                        )
                    except InputError:
                        assert keys & committed
                        outcomes["refused"] += 1
                    else:
                        assert not keys & committed
                        outcomes["committed"] += 1
                        committed |= keys
            found = lake.sql("SELECT owner, shard FROM shards").rows()
        assert sorted(found) == sorted(committed)
        assert min(outcomes.values()) > 1, outcomes


def _delete(owner: str, now: Transaction) -> None:
    now.execute("DELETE FROM shards WHERE owner = $owner", owner=owner)


def _receipt(owner: str, shard: int) -> Receipt:
    return Receipt.of_chunk(owner, "rows", shard, (shard, shard + 1), Chunk(Digest(7, "h"), 1), "r")
