-- changes_between: what runs changed from one snapshot to a later one, and how much of each kind they wrote.
-- in:  run_log; $first, $last snapshots
-- out: snapshot_after (of the run's last data commit; NULL while it runs, or if it was killed), run, flow, state, started (UTC), kind (what it wrote), n; runs that were at work within the snapshots, in their order
SELECT
    snapshot_after,
    run,
    flow,
    state,
    started,
    kind,
    n
FROM (
    UNPIVOT (
        SELECT
            snapshot_after,
            run,
            flow,
            state,
            started,
            models,
            corpora,
            rowsets,
            tensors,
            dictionaries,
            codes,
            shards,
            partials,
            feature_statistics,
            evaluations,
            feature_matches,
            similarities,
            hypotheses
        FROM run_log
        WHERE coalesce(snapshot_after, $last) > $first AND snapshot_before < $last
    )
    ON COLUMNS (* EXCLUDE (snapshot_after, run, flow, state, started))
    INTO NAME kind VALUE n
)
WHERE n > 0
ORDER BY coalesce(snapshot_after, $last), run, kind;
