-- shards_committed_twice: shards of one array with more than one receipt.
-- in:  shards
-- out: owner (id), what is wrong; one row a shard
SELECT
    owner,
    'shard ' || shard || ' of ' || "array" || ' has ' || count(*) || ' receipts' AS what
FROM shards
GROUP BY owner, "array", shard
HAVING count(*) > 1
ORDER BY owner, "array", shard;
