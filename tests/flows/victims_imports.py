"""What the server that forks victims has imported already."""

import torch
import transformers

import actlake.flows.encode
import actlake.flows.export
import actlake.flows.extract
import actlake.flows.maintain
import actlake.flows.page
import actlake.flows.plots
import actlake.flows.report
import actlake.flows.shard_capture
import actlake.flows.summarize
import actlake.flows.train
import tests.flows.scenes
from actlake.analytics.dictionaries import topk
from actlake.storage.duck import connect
from actlake.storage.sqlite_database import SqliteDatabase

__all__ = ["actlake", "tests", "topk", "torch", "transformers"]

# The signatures of its extensions are checked, for all that are forked.
connect(extensions=SqliteDatabase.extensions).close()
