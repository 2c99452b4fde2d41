from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
from actlake.flows.extraction.tokens import special_tokens, tokenize_documents, vocabulary
from actlake.storage.errors import CorpusError, InputError, ModelError
from conftest import TokenizerMaker
