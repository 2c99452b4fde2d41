-- names_taken_twice: names, ids of files, and ids of runs that stand for more than one thing.
-- in:  models, corpora, rowsets, tensors, dictionaries, codes, codes_sets, masks, runs
-- out: owner (the name or id), what is wrong
WITH names AS (
    SELECT
        'model' AS kind,
        model AS name
    FROM models
    UNION ALL
    SELECT
        'corpus',
        corpus
    FROM corpora
    UNION ALL
    SELECT
        'rowset',
        rowset
    FROM rowsets
    UNION ALL
    SELECT
        'tensor',
        tensor
    FROM tensors
    UNION ALL
    SELECT
        'dictionary',
        dictionary
    FROM dictionaries
    UNION ALL
    SELECT
        'codes',
        codes
    FROM codes
    UNION ALL
    SELECT DISTINCT
        'codes',
        codes
    FROM codes_sets
    UNION ALL
    SELECT
        'mask',
        mask
    FROM masks
    UNION ALL
    SELECT
        'run',
        run
    FROM runs
    UNION ALL
    SELECT
        'id',
        id
    FROM rowsets
    UNION ALL
    SELECT
        'id',
        id
    FROM tensors
    UNION ALL
    SELECT
        'id',
        id
    FROM codes
)
SELECT
    name AS owner,
    'stands for ' || count(*) || ' things as a ' || kind AS what
FROM names
GROUP BY kind, name
HAVING count(*) > 1
ORDER BY name, kind;
