"""What must hold after a flow was killed, or refused: the next run ends as an undisturbed one,
costs what was in flight, and ``gc`` finds what is left, all of it and nothing else."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from actlake.flows.gc import MOST, gc, would_remove
from actlake.storage.committed import committed_files
from actlake.storage.durable import is_staged
from actlake.storage.lake import Lake
from actlake.storage.retention import Plan
from actlake.storage.settings import FOLDERS
from tests.flows.contents import content, exported
from tests.flows.scenes import DRIVEN, Right, Scene
from tests.flows.victims import Ended, Victim

__all__ = ["resumed", "swept"]

OWN = ("catalog.", "claims.sqlite", "backups")
"""What is in a lake's folder and nothing names."""
CHECKPOINTS = "checkpoints/"
"""Where the next run finds what it goes on from, while there is no dictionary yet."""


def resumed(
    scene: Scene, place: Path, right: Right, *before: Ended, sweep: bool = False
) -> list[str]:
    """Run the flow once more after runs that ended badly; what then is not as it must be.

    sweep
        Whether ``gc`` removes what they left before that.
    """
    wrong = [f"{one}, before the next run" for one in _left(scene, place, sweep=sweep)]
    now = datetime.now(UTC).replace(tzinfo=None)
    last = Victim(scene.flow, place).end()
    if last.error is not None:
        return [*wrong, f"the next run failed: {last.error}"]
    with closing(Lake.open(place)) as lake:
        # What waits aside for the next run goes, too, if there is none within the grace period.
        if not (sweep and scene.work == "spool"):
            wrong += _wasted(lake, scene, right, [*before, last], now)
        wrong += swept(lake)
        gc(lake, expire_days=0, keep_snapshots=1, grace_hours=0)
        wrong += [f"{one} is left" for one in leftovers(lake)]
        wrong += [f"{one.name} is left" for one in place.parent.glob(f".{exported(place).name}.*")]
        wrong += [str(one) for one in lake.verify()]
        found = content(lake)
        wrong += [f"{one} differs" for one in found if found[one] != right.content.get(one)]
        wrong += [f"{one} is missing" for one in right.content.keys() - found.keys()]
        states = {str(state) for (state,) in lake.sql("SELECT state FROM runs").rows()}
        wrong += [f"a run is {one}" for one in states - {"completed", "crashed", "failed"}]
        pins = [why for _, why in lake._claims.pins() if why.startswith("read by run")]
        wrong += [f"a snapshot stays {one}" for one in pins]
    return wrong


def _left(scene: Scene, place: Path, *, sweep: bool) -> Iterator[str]:
    """What is wrong with what ``gc`` would remove of a lake, or removes, before the next run."""
    if scene.name not in DRIVEN:  # to open it is the next run
        return
    with closing(Lake.open(place)) as lake:
        if sweep:
            yield from swept(lake)
        else:
            yield from unlike(lake, would_remove(lake, keep_snapshots=MOST, grace_hours=0))


def swept(lake: Lake) -> Iterator[str]:
    """Let ``gc`` remove what no snapshot names; what is wrong with what it finds and leaves.

    Nothing is wrong if it said beforehand what it removed, that is what was left, and every
    committed file is there.
    """
    plan = would_remove(lake, keep_snapshots=MOST, grace_hours=0)
    yield from unlike(lake, plan)
    said = {one.path for one in plan.now}
    removed = {one.path for one in gc(lake, keep_snapshots=MOST, grace_hours=0).now}
    yield from (f"gc said or removed {one}, not both" for one in sorted(said ^ removed))
    yield from (f"{one} is left by gc" for one in leftovers(lake))
    for one in _committed(lake):
        if not lake.store.exists(lake.root / one):
            yield f"{one} was committed and is gone"


def unlike(lake: Lake, plan: Plan) -> Iterator[str]:
    """What ``gc`` would remove and the killed have not left, and what they left that it misses."""
    if plan.snapshots or plan.later:
        yield f"gc would do more than remove: {plan}"
    left = leftovers(lake)
    for one in plan.now:
        if one.bytes and not any(_within(path, one.path) for path in left):
            yield f"gc would remove {one.path}"
    for path in left:
        if not any(_within(path, one.path) for one in plan.now):
            yield f"gc does not find {path}"


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def leftovers(lake: Lake) -> list[str]:
    """Files and folders that the lake does not name and that are none of its own few."""
    trained = lake.sql("SELECT dictionary FROM dictionaries").rows()
    own = OWN if trained else (*OWN, CHECKPOINTS)
    named = _committed(lake)
    stored = {one.path for folder in FOLDERS for one in lake.store.files(lake.root / folder)}
    found = []
    for path in sorted(stored | {*lake.root.rglob("*")}):
        inside = path.relative_to(lake.root).as_posix()
        is_file = path in stored or path.is_file()
        if is_staged(path) or (is_file and inside not in named and not inside.startswith(own)):
            found.append(inside)
    return found


def _committed(lake: Lake) -> set[str]:
    files = committed_files(lake._connection(), lake.store, lake._claims.files())
    return {one.path for one in files}


def _wasted(
    lake: Lake, scene: Scene, right: Right, ended: Sequence[Ended], resumed_at: datetime
) -> Iterator[str]:
    """What was done more than once, beyond what was in flight when something was done to it."""
    if scene.work is None:
        return
    planned = right.ended.calls[scene.work]
    done = sum(one.calls.get(scene.work, 0) for one in ended)
    if done > planned + scene.in_flight * (len(ended) - 1):
        yield f"{done} times {scene.work} where {planned} are enough, in {len(ended)} runs"
    if scene.work in ("train", "spool"):  # what they keep is not in tables
        return
    table = "partials" if scene.name == "summarize" else "shards"
    query = f"""
        SELECT count(DISTINCT shard) FROM {table} INNER JOIN runs USING (run)
        WHERE flow = $flow AND started < $at
    """
    [(committed,)] = lake.sql(query, flow=scene.name, at=resumed_at).rows()
    if ended[-1].calls.get(scene.work, 0) != planned - int(str(committed)):
        yield f"{committed} of {planned} shards were committed, {ended[-1].calls} done again"
