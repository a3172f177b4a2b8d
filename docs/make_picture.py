"""Make docs/demo.svg: a picture of a real run, as a terminal shows it. Run by `make picture`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMAND = ["graphtool", "run", "--passes", "resize_nearest,prune_outputs", "ICNet.onnx"]
WIDTH = 176


def main() -> None:
    """Run the demo and draw it."""
    root = Path(__file__).resolve().parents[1]
    folder = root / "demo"
    folder.mkdir(exist_ok=True)
    tools = Path(sys.executable).parent
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["graphtool", "zoo", "icnet", "ICNet.onnx"], cwd=folder, env=environment, check=True)
    shown = subprocess.run(COMMAND, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: PTH123, SIM115
    console.print(Text("$ " + " ".join(COMMAND), style="bold"))
    console.print(Text.from_ansi(shown.stdout))
    console.save_svg(str(root / "docs" / "demo.svg"), title="graphtool", unique_id="graphtool")


if __name__ == "__main__":
    main()
