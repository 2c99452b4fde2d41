-- hypotheses_by_target: every hypothesis about a label, tested or dropped, surest first.
-- in:  hypotheses, hypothesis_phrases, runs; $target text; $limit
-- out: target, level, codes, feature, statement, split (that the numbers are of), effect, ci_low, ci_high, p, p_permutation, p_family, q, n, n_groups, n_tests, look, phrases (list, with documents on either side), run, snapshot
WITH phrases AS (
    SELECT
        run,
        target,
        level,
        feature,
        list(
            phrase || ' ' || firing || ':' || silent
            ORDER BY rank
        ) AS phrases
    FROM hypothesis_phrases
    WHERE target = $target
    GROUP BY run, target, level, feature
)
SELECT
    h.target,
    h.level,
    h.codes,
    h.feature,
    h.statement,
    h.split,
    h.effect,
    h.ci_low,
    h.ci_high,
    h.p,
    h.p_permutation,
    h.p_family,
    h.q,
    h.n,
    h.n_groups,
    h.n_tests,
    h.look,
    w.phrases,
    h.run,
    r.snapshot_before AS snapshot
FROM hypotheses AS h
LEFT JOIN runs AS r USING (run)
LEFT JOIN phrases AS w
    ON w.run = h.run AND w.level = h.level AND w.feature = h.feature
WHERE h.target = $target
ORDER BY h.q NULLS LAST, h.p NULLS LAST, h.codes, h.feature
LIMIT $limit;
