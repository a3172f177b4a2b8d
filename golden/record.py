"""Record golden/ anew: ICNet through the demo's passes, at full size and at a quick one. Run by `make golden`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from graphtool import api, golden
from graphtool.parity.feed import draw
from graphtool.zoo.icnet import write_icnet

PASSES = "resize_nearest,prune_outputs"
SIZES = {"icnet": (1024, 2048), "icnet_256x512": (256, 512)}


def main() -> None:
    """Record each size, replacing what is there."""
    folder = Path(__file__).resolve().parent
    for name, (height, width) in SIZES.items():
        with tempfile.TemporaryDirectory() as scratch:
            model = Path(scratch, "ICNet.onnx")
            write_icnet(model, height, width)
            result = api.run(api.load(model), PASSES)
            write = golden.update if name in golden.list_goldens(folder) else golden.record
            saved = Path(scratch, "ICNet.graphtool.onnx")
            result.graph.save(saved)
            graph = api.load(saved)
            print(f"wrote {write(name, graph, saved, draw(graph), folder)}")


if __name__ == "__main__":
    main()
