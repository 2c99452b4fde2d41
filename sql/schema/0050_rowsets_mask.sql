-- rowsets_mask: the mask by which rows were chosen.
-- in:  rowsets
-- out: rowsets with the column mask, NULL in those that hold every row
ALTER TABLE rowsets ADD COLUMN mask VARCHAR;
