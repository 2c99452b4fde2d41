-- rowsets_parent: the rowset that the rows of another one were chosen from.
-- in:  rowsets
-- out: rowsets with the column parent, NULL in those that hold every row
ALTER TABLE rowsets ADD COLUMN parent VARCHAR;
