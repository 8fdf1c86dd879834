"""``python -m cpmodel`` is the command line."""

from cpmodel.cli import main

main()
