"""Bytes and facts: the lake, its catalog, tensors, codes, and who may write what when."""

from actlake.storage.batches import Batches
from actlake.storage.codes import Codes
from actlake.storage.corpora import Document, Span
from actlake.storage.csr import Csr
from actlake.storage.errors import LakeError
from actlake.storage.lake import Lake
from actlake.storage.rowsets import Rowset
from actlake.storage.tensors import Tensor

__all__ = ["Batches", "Codes", "Csr", "Document", "Lake", "LakeError", "Rowset", "Span", "Tensor"]
