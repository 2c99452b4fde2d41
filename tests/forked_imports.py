"""What the server that forks children has behind it already."""

import pandas  # by DuckDB, at the first parameter of a query: half a second of each child
import torch
import transformers
import transformers.models.llama.modeling_llama
import zarrs

import actlake.flows.encode
import actlake.flows.export
import actlake.flows.extract
import actlake.flows.extraction.skeletons
import actlake.flows.ingest
import actlake.flows.maintain
import actlake.flows.page
import actlake.flows.plots
import actlake.flows.report
import actlake.flows.shard_capture
import actlake.flows.summarize
import actlake.flows.train
import tests.flows.scenes
import tests.soak.crowd
import tests.soak.race
import tests.storage.conformance.protocol
import tests.storage.s3_victims
from actlake.analytics.dictionaries import topk
from actlake.storage.duck import connect
from actlake.storage.postgres_database import PostgresDatabase
from actlake.storage.s3_store import S3Store
from actlake.storage.sqlite_database import SqliteDatabase

__all__ = ["actlake", "pandas", "tests", "topk", "torch", "transformers", "zarrs"]

# The signatures of the extensions are checked, for all that are forked.
connect(
    extensions=(
        *SqliteDatabase.extensions,
        *PostgresDatabase.extensions,
        *S3Store.extensions,
    )
).close()
