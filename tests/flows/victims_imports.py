"""What the server that forks victims has imported already."""

import torch
import transformers

import actlake.flows.encode
import actlake.flows.extract
import actlake.flows.summarize
import actlake.flows.train
import tests.flows.tiny
from actlake.storage.duck import connect

__all__ = ["actlake", "tests", "torch", "transformers"]

connect().close()  # the signatures of its extensions are checked, for all that are forked
