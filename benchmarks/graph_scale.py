"""What the graph layer costs against raw onnx, at 1,000, 10,000 and 100,000 nodes.

    python benchmarks/graph_scale.py [--nodes 1000,10000,100000] [--repeats 5] [--json]

Each figure is the median over fresh processes of CPU seconds and peak memory (getrusage): "whole" of the process, "net"
without what it had used when its imports were done. Jobs, all of which load, edit and save one model:

- ``onnx``      ``onnx.load``, every Resize replaced by two nodes, ``onnx.save``: the baseline of ``full``
- ``onnx_attr`` the same with an attribute of every Resize changed: the baseline of ``types``
- ``full``      graphtool, all look-ups built, every Resize replaced by two nodes
- ``types``     graphtool, the look-up by op type alone, an attribute of every Resize changed
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

GOALS = {"full": ("onnx", 1.0, 2.0), "types": ("onnx_attr", 0.4, 1.3)}  # job: baseline, CPU and memory at most
EXPONENT = 1.15  # growth with the number of nodes at most
JOBS = ("onnx", "onnx_attr", "full", "types")
OPS = ("Conv", "Relu", "Conv", "BatchNormalization", "Relu", "Resize", "Add", "Sigmoid", "Mul", "Conv")


def make_model(nodes: int, path: Path) -> None:
    """Write a model of the ops and attributes of an exported segmentation network; each tenth node is a Resize."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, save

    window = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "group": 1}
    resize = {
        "coordinate_transformation_mode": "align_corners",
        "cubic_coeff_a": -0.75,
        "mode": "linear",
        "nearest_mode": "floor",
    }
    extra = {
        "Conv": (["weight"], window),
        "BatchNormalization": (["scale", "bias", "mean", "var"], {"epsilon": 1e-5}),
        "Resize": (["roi", "scales"], resize),
    }
    values = ["input"]
    made = []
    for place in range(nodes):
        op = OPS[place % len(OPS)]
        constants, attributes = extra.get(op, ([], {}))
        second = [values[max(0, place - 3)]] if op in ("Add", "Mul") else []
        values.append(str(place + 1000))
        inputs = [values[place], *second, *constants]
        made.append(helper.make_node(op, inputs, [values[-1]], f"{op}_{place}", **attributes))
    weights = {
        "weight": np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1),
        "roi": np.zeros(0, np.float32),
        "scales": np.ones(4, np.float32),
        **{name: np.ones(4, np.float32) for name in ("scale", "bias", "mean", "var")},
    }
    graph = helper.make_graph(
        made,
        "scale",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info(values[-1], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), path)


# -- the jobs; imports are in them so that a process pays for its own only


def onnx_replace(source: str, target: str) -> None:
    import onnx

    model = onnx.load(source)
    nodes = []
    for node in model.graph.node:
        nodes.extend(_two_nodes(node) if node.op_type == "Resize" else [node])
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, target)


def onnx_attribute(source: str, target: str) -> None:
    import onnx

    model = onnx.load(source)
    for node in model.graph.node:
        if node.op_type == "Resize":
            _to_nearest(node)
    onnx.save(model, target)


def graphtool_full(source: str, target: str) -> None:
    from graphtool.graph import Graph

    graph = Graph.load(source)
    index = graph.index
    _ = index.types, index.producers, index.readers
    for slot in index.slots_of_type("Resize"):
        node = graph.node(slot)
        graph.remove_node(slot)
        for step, new in enumerate(_two_nodes(node)):
            graph.add_node(new, slot, step)
    graph.save(target)


def graphtool_types(source: str, target: str) -> None:
    from graphtool.graph import Graph

    graph = Graph.load(source)
    for node in graph.index.by_type("Resize"):
        _to_nearest(node)
    graph.save(target)


def _to_nearest(node) -> None:
    for attribute in node.attribute:
        if attribute.name == "mode":
            attribute.s = b"nearest"


def _two_nodes(node) -> tuple:
    from onnx import NodeProto

    inner = f"{node.output[0]}/rows"
    first, second = NodeProto(), NodeProto()
    first.CopyFrom(node)
    second.CopyFrom(node)
    first.name += "/rows"
    first.output[0] = inner
    second.input[0] = inner
    return first, second


# -- measuring


def child(job: str, source: str, target: str) -> None:
    """Do one job in this process and print what it cost."""
    if job.startswith("onnx"):
        import onnx  # noqa: F401
    else:
        import graphtool.graph.save  # noqa: F401
    start = _usage()
    {"onnx": onnx_replace, "onnx_attr": onnx_attribute, "full": graphtool_full, "types": graphtool_types}[job](
        source, target
    )
    end = _usage()
    print(json.dumps({"whole": end, "net": {key: end[key] - start[key] for key in end}}))


def _usage() -> dict[str, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu": usage.ru_utime + usage.ru_stime, "mib": usage.ru_maxrss / 1024}


def measure(job: str, source: Path, target: Path) -> dict[str, dict[str, float]]:
    """Do a job in a fresh process; return CPU seconds and peak MiB, whole and net."""
    words = [sys.executable, __file__, "--child", job, str(source), str(target)]
    # imports cost what they do once installed: compiled before, not anew in each process
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(source.parent / "bytecode")
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=env)
    costs: dict[str, dict[str, float]] = json.loads(done.stdout)
    return costs


def medians(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the median of each figure."""
    return {
        kind: {key: statistics.median(run[kind][key] for run in runs) for key in ("cpu", "mib")}
        for kind in ("whole", "net")
    }


def exponent(figures: dict[int, float]) -> float:
    """Return the least-squares slope of log(figure) over log(nodes)."""
    points = [(math.log(nodes), math.log(max(figure, 1e-6))) for nodes, figure in figures.items()]
    middle_x, middle_y = (statistics.fmean(axis) for axis in zip(*points, strict=True))
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / sum((x - middle_x) ** 2 for x, _ in points)


def bench(sizes: list[int], repeats: int) -> dict[str, dict]:
    """Return all figures: costs by job and size, ratios to the baselines, exponents of the net CPU seconds."""
    costs: dict[str, dict[int, dict[str, dict[str, float]]]] = {job: {} for job in JOBS}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.onnx"), Path(folder, "out.onnx")
        for nodes in sizes:
            # not in this process: Linux hands a parent's peak memory on to its children
            subprocess.run([sys.executable, __file__, "--make", str(nodes), str(source)], check=True)
            runs: dict[str, list[dict[str, dict[str, float]]]] = {job: [] for job in JOBS}
            results = {}
            for job in JOBS:
                measure(job, source, target)  # compiles, and warms the page cache
            for _ in range(repeats):  # in turn, so that a busy spell of the machine meets all of them
                for job in JOBS:
                    runs[job].append(measure(job, source, target))
                    results[job] = target.read_bytes()
            for job in JOBS:
                costs[job][nodes] = medians(runs[job])
            for job, (base, _, _) in GOALS.items():
                assert results[job] == results[base], f"{job} and {base} did not write the same model"
    ratios = {
        job: {
            nodes: {
                kind: {key: costs[job][nodes][kind][key] / costs[base][nodes][kind][key] for key in ("cpu", "mib")}
                for kind in ("whole", "net")
            }
            for nodes in sizes
        }
        for job, (base, _, _) in GOALS.items()
    }
    spans = [span for span in (sizes, [nodes for nodes in sizes if nodes >= 10_000]) if len(span) > 1]
    exponents = {
        job: {
            f"{span[0]}..{span[-1]}": exponent({nodes: costs[job][nodes]["net"]["cpu"] for nodes in span})
            for span in spans
        }
        for job in JOBS
    }
    return {"costs": costs, "ratios": ratios, "exponents": exponents}


def show(result: dict[str, dict], sizes: list[int]) -> None:
    """Print the figures and whether the goals are met at the largest size."""
    print("                        whole process     net of imports   times the baseline: whole         net")
    print("   nodes job             CPU s     MiB     CPU s     MiB              CPU  memory     CPU  memory")
    for nodes in sizes:
        for job in JOBS:
            whole, net = result["costs"][job][nodes]["whole"], result["costs"][job][nodes]["net"]
            line = f"{nodes:>8} {job:<12} {whole['cpu']:8.3f} {whole['mib']:7.0f}  {net['cpu']:8.4f} {net['mib']:7.1f}"
            if job in GOALS:
                ratio = result["ratios"][job][nodes]
                line += " " * 12 + "  ".join(
                    f"{ratio[kind]['cpu']:6.2f}  {ratio[kind]['mib']:6.2f}" for kind in ("whole", "net")
                )
            print(line)
    for job, spans in result["exponents"].items():
        print(f"growth of {job}: " + ", ".join(f"{value:.2f} over {span}" for span, value in spans.items()))
    for job, (base, cpu, memory) in GOALS.items():
        ratio = result["ratios"][job][sizes[-1]]["whole"]
        grown = max(result["exponents"][job].values(), default=0)
        met = ratio["cpu"] <= cpu and ratio["mib"] <= memory and grown <= EXPONENT
        print(
            f"{job} at {sizes[-1]} nodes: CPU at most {cpu}, memory {memory} times {base}, "
            f"exponent {EXPONENT}: {'met' if met else 'MISSED'}"
        )


def main() -> None:
    """Read the command line and run."""
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
        return
    if sys.argv[1:2] == ["--make"]:
        make_model(int(sys.argv[2]), Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="1000,10000,100000", help="sizes, with commas")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    sizes = sorted(int(word) for word in options.nodes.split(","))
    result = bench(sizes, options.repeats)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result, sizes)


if __name__ == "__main__":
    main()
