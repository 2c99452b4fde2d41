-- lineage: where a row of feature_statistics comes from: each thing it rests on, and the run that made it.
-- in:  feature_statistics, masks, codes, codes_sets, dictionaries, tensors, models, rowsets, corpora, runs; $codes, $mask text; $feature
-- out: step (1 = the row itself), kind, name, fingerprint (NULL for the row), run, flow, state, started (UTC), inputs (JSON: names and fingerprints that the run read), snapshot_before, snapshot_after, code_version; two tensors where the dictionary was fitted on another one than was encoded; several codes, tensors, rowsets and corpora of a set
WITH asked AS (
    SELECT
        s.run,
        s.codes AS summarized,
        s.mask,
        s.feature,
        c.codes,
        c.dictionary,
        c.tensor,
        c.rowset
    FROM feature_statistics AS s
    LEFT JOIN codes_sets AS m USING (codes, mask)
    LEFT JOIN codes AS c ON c.codes = coalesce(m.member, s.codes)
    WHERE s.codes = $codes AND s.mask = $mask AND s.feature = $feature
),

used_tensors AS (
    SELECT a.tensor
    FROM asked AS a
    UNION
    SELECT d.tensor
    FROM asked AS a
    INNER JOIN dictionaries AS d USING (dictionary)
),

used_rowsets AS (
    SELECT a.rowset
    FROM asked AS a
    UNION
    SELECT t.rowset
    FROM used_tensors AS u
    INNER JOIN tensors AS t USING (tensor)
),

chain AS (
    SELECT DISTINCT
        1 AS step,
        'feature_statistics' AS kind,
        summarized || ', ' || mask || ', ' || feature AS name,
        NULL AS fingerprint,
        run
    FROM asked
    UNION ALL
    SELECT DISTINCT
        2,
        'mask',
        m.mask,
        m.fingerprint,
        NULL
    FROM asked AS a
    INNER JOIN masks AS m USING (mask)
    UNION ALL
    SELECT
        3,
        'codes',
        c.codes,
        c.fingerprint,
        c.run
    FROM asked AS a
    INNER JOIN codes AS c USING (codes)
    UNION ALL
    SELECT DISTINCT
        4,
        'dictionary',
        d.dictionary,
        d.fingerprint,
        d.run
    FROM asked AS a
    INNER JOIN dictionaries AS d USING (dictionary)
    UNION ALL
    SELECT
        5,
        'tensor',
        t.tensor,
        t.fingerprint,
        t.run
    FROM used_tensors AS u
    INNER JOIN tensors AS t USING (tensor)
    UNION ALL
    SELECT DISTINCT
        6,
        'model',
        m.model,
        m.fingerprint,
        m.run
    FROM used_tensors AS u
    INNER JOIN tensors AS t USING (tensor)
    INNER JOIN models AS m USING (model)
    UNION ALL
    SELECT
        7,
        'rowset',
        r.rowset,
        r.fingerprint,
        r.run
    FROM used_rowsets AS u
    INNER JOIN rowsets AS r USING (rowset)
    UNION ALL
    SELECT DISTINCT
        8,
        'corpus',
        k.corpus,
        k.fingerprint,
        k.run
    FROM used_rowsets AS u
    INNER JOIN rowsets AS r USING (rowset)
    INNER JOIN corpora AS k USING (corpus)
)
SELECT
    h.step,
    h.kind,
    h.name,
    h.fingerprint,
    h.run,
    r.flow,
    r.state,
    r.started,
    r.inputs,
    r.snapshot_before,
    r.snapshot_after,
    r.code_version
FROM chain AS h
LEFT JOIN runs AS r USING (run)
ORDER BY h.step, h.name;
