"""Record golden/ anew: ICNet through the demo's passes, at full size and at a quick one. Run by `make golden`."""

from __future__ import annotations

from pathlib import Path

from graphtool import golden
from graphtool.golden.recording import Asked, prepare_record, prepare_update

PASSES = "resize_nearest,prune_outputs"
SIZES = {"icnet": (1024, 2048), "icnet_256x512": (256, 512)}


def main() -> None:
    """Record each size, replacing what is there."""
    folder = Path(__file__).resolve().parent
    for name, (height, width) in SIZES.items():
        command = f"graphtool zoo icnet {{model}} --height {height} --width {width}"
        prepare = prepare_update if name in golden.list_goldens(folder) else prepare_record
        made = prepare(name, folder, Asked(command=command, passes=PASSES))
        for text in made.changes():
            print(text)
        print(f"wrote {made.write()}")


if __name__ == "__main__":
    main()
