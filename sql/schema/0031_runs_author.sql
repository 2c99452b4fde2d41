-- runs_author: which user ran a run.
-- in:  runs
-- out: runs with the column author, NULL in the rows that are there
ALTER TABLE runs ADD COLUMN author VARCHAR;
