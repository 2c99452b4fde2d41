"""``python -m actlake.flows`` is the command ``actlake``."""

from actlake.flows.cli import main

main(prog_name="actlake")
