-- runs_disagree: runs whose state, times and snapshots contradict each other.
-- in:  runs
-- out: owner (run), what is wrong
WITH faults AS (
    SELECT
        run AS owner,
        'is ' || state || ' and has no end' AS what
    FROM runs
    WHERE state IN ('completed', 'failed', 'undone') AND ended IS NULL
    UNION ALL
    SELECT
        run,
        'ended before it started'
    FROM runs
    WHERE ended < started
    UNION ALL
    SELECT
        run,
        'wrote snapshot ' || snapshot_after || ', not after ' || snapshot_before
        || ', which it read'
    FROM runs
    WHERE snapshot_after <= snapshot_before
    UNION ALL
    SELECT
        run,
        'has the state ' || state || ', which none has'
    FROM runs
    WHERE state NOT IN ('running', 'completed', 'failed', 'crashed', 'undone')
)
SELECT
    owner,
    what
FROM faults
ORDER BY owner, what;
