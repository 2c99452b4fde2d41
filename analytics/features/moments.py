"""How often and how strongly each feature fires, over firing rows and over all rows."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.activations.moments import Moments
from actlake.analytics.features.postings import Postings
from actlake.analytics.statistic import Arrays
from actlake.storage.csr import Csr


@dataclass(frozen=True, slots=True)
class FeatureMoments:
    """Rows under a mask, and the moments of each feature's values where it fires.

    Moments over all rows follow exactly: the rows where a feature is silent are one more block,
    of zeros, to merge.
    """

    n_rows: int
    """Rows under the mask, firing or not: the denominator of every density."""
    firing: Moments
    """Of the stored values, one column a feature."""

    @classmethod
    def empty(cls, n_features: int) -> Self:
        return cls(0, Moments.empty(n_features))

    @classmethod
    def of(cls, codes: Csr, mask: NDArray[np.bool_]) -> Self:
        """Moments over the rows of ``codes`` where ``mask``, shape (rows,), is true."""
        return cls.of_postings(Postings.of(codes, mask))

    @classmethod
    def of_postings(cls, postings: Postings) -> Self:
        return cls(postings.n_rows, Moments.of_runs(postings.value, postings.starts))

    def merge(self, other: Self) -> Self:
        return type(self)(self.n_rows + other.n_rows, self.firing.merge(other.firing))

    def all_rows(self) -> Moments:
        """Moments over all rows under the mask, silent ones as zeros."""
        return self.firing.merge(Moments.zeros(self.n_rows - self.firing.count))

    def finish(self) -> dict[str, NDArray[Any]]:
        """Columns of feature_statistics, each of shape (n_features,).

        ``n_rows`` and ``n_fires`` count; ``density`` = n_fires / n_rows. ``*_active`` are over
        firing rows, ``*_all`` over all rows, in the units of the values; variances are those of
        the population (ddof 0) and kurtosis is the excess. NaN where undefined: ``*_active`` of a
        feature that never fires, skew and kurtosis of a constant, everything without rows.
        """
        firing, everywhere = self.firing, self.all_rows()
        features = len(firing.count)
        fires = np.where(firing.count > 0, 1.0, np.nan)
        seen = 1.0 if self.n_rows else np.nan
        return {
            "feature": np.arange(features),
            "n_rows": np.full(features, self.n_rows, np.int64),
            "n_fires": firing.count,
            "density": firing.count / (self.n_rows or np.nan),
            "mean_active": firing.mean * fires,
            "std_active": np.sqrt(firing.variance()),
            "min_active": np.where(firing.count > 0, firing.minimum, np.nan),
            "max_active": np.where(firing.count > 0, firing.maximum, np.nan),
            "skew_active": firing.skew(),
            "kurtosis_active": firing.kurtosis(),
            "mean_all": everywhere.mean * seen,
            "std_all": np.sqrt(everywhere.variance()),
            "skew_all": everywhere.skew(),
            "kurtosis_all": everywhere.kurtosis(),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"n_rows": np.array([self.n_rows]), **self.firing.arrays()}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return cls(int(arrays["n_rows"][0]), Moments.from_arrays(arrays))
