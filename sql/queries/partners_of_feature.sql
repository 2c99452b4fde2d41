-- partners_of_feature: what else fires with a feature, and whether that is more than chance.
-- in:  pair_scores; $codes, $mask, $level text: token or document; $feature
-- out: rank, partner, joint (units on which both fire), expected (of unrelated features), lift, pmi (nats), jaccard, given_feature = P(partner fires | feature fires), given_partner = P(feature fires | partner fires), phi, pearson, decoder_cosine, q, n_tests
--
-- q is of the hypergeometric test over all pairs of features that fire often enough. Rows of one
-- document are not independent, so q at the level token says little; ask at the level document.
SELECT
    rank,
    feature_b AS partner,
    joint,
    expected,
    lift,
    pmi,
    jaccard,
    given_a AS given_feature,
    given_b AS given_partner,
    phi,
    pearson,
    decoder_cosine,
    q,
    n_tests
FROM pair_scores
WHERE codes = $codes AND mask = $mask AND level = $level AND feature_a = $feature
ORDER BY rank;
