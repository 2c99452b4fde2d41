-- feature_profiles_burstiness: in bursts, at random or evenly spaced.
-- in:  feature_profiles
-- out: feature_profiles with the column burstiness, NULL in the rows that are there
ALTER TABLE feature_profiles ADD COLUMN burstiness DOUBLE;
