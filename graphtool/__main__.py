"""The command line from its first moment: ``graphtool``, and ``python -m graphtool`` where that is not on the path."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while its modules are read ends it as it does later."""
    try:
        from graphtool.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("graphtool: interrupted\n")
        sys.exit(130)  # 128 + SIGINT, as a shell reports it


if __name__ == "__main__":
    main()
