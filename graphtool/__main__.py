"""``python -m graphtool``: the command line where its script is not on the path."""

from graphtool.cli.main import main

main()
