"""Makes `python -m worker.cli` the same as `dreamhook`."""

from worker.cli.app import main

main()
