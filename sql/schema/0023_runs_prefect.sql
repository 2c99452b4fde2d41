-- runs_prefect: which Prefect flow run carried a run out.
-- in:  runs
-- out: runs with the column prefect_run, NULL in the rows that are there
ALTER TABLE runs ADD COLUMN prefect_run VARCHAR;
