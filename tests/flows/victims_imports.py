"""What the server that forks victims has imported already."""

import torch
import transformers

import actlake.flows.encode
import actlake.flows.extract
import actlake.flows.summarize
import actlake.flows.train
import tests.flows.tiny

__all__ = ["actlake", "tests", "torch", "transformers"]
