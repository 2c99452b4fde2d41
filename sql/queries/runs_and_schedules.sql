-- runs_and_schedules: each flow's runs, how they ended, and how regularly they come.
-- in:  runs; $days that are looked back on
-- out: flow, runs, completed, failed, crashed, running, under_prefect (of all runs), last_started, last_completed (UTC), hours_between (median between starts, NULL for one run), median_seconds (of completed runs), last_error (of the last that failed)
WITH recent AS (
    SELECT
        flow,
        state,
        error,
        prefect_run,
        started,
        ended,
        lag(started) OVER (PARTITION BY flow ORDER BY started) AS started_before
    FROM runs
    WHERE started >= now() AT TIME ZONE 'UTC' - to_days($days)
)
SELECT
    flow,
    count(*) AS runs,
    count(*) FILTER (WHERE state = 'completed') AS completed,
    count(*) FILTER (WHERE state = 'failed') AS failed,
    count(*) FILTER (WHERE state = 'crashed') AS crashed,
    count(*) FILTER (WHERE state = 'running') AS running,
    count(prefect_run) AS under_prefect,
    max(started) AS last_started,
    max(ended) FILTER (WHERE state = 'completed') AS last_completed,
    median(date_diff('second', started_before, started)) / 3600 AS hours_between,
    median(date_diff('millisecond', started, ended)) FILTER (WHERE state = 'completed') / 1000
        AS median_seconds,
    max_by(error, started) FILTER (WHERE state = 'failed') AS last_error
FROM recent
GROUP BY flow
ORDER BY last_started DESC, flow;
