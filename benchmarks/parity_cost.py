"""What judging costs: cones against whole runs on ResNet-50, whole runs and memory on ICNet, numbers at 100,000 nodes.

    python benchmarks/parity_cost.py                     # all parts, some minutes
    python benchmarks/parity_cost.py resnet icnet        # some of them: resnet icnet memory numbers large

CPU seconds of this process and its threads; memory is the peak of a fresh process (VmHWM), or of what in it is no file
(RssAnon, sampled). Each figure stands beside a baseline of the same run, and the exit code is 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIZE = (512, 1024)
PASSES = (
    "remove_identity", "fold_pad_conv", "fuse_conv_bn", "remove_neutral", "fuse_transposes", "merge_clips",
    "merge_casts", "decompose_hardswish", "fuse_reduce_squeeze", "gemm_to_matmul",
)  # fmt: skip
MISSION = "resize_nearest,prune_outputs,output_fp16"
CLOSE = "resize_linear_to_matmul,prune_outputs,output_fp16"

missed: list[str] = []


def goal(what: str, value: float, most: float) -> None:
    """Print a figure and its goal, and remember one that is missed."""
    fine = value <= most
    print(f"  {what}: {value:.3g} (goal: at most {most:.3g}){'' if fine else '  MISSED'}")
    if not fine:
        missed.append(what)


# -- ResNet-50


def resnet(height: int = SIZE[0], width: int = SIZE[1]) -> Any:
    """Return a ResNet-50 (He et al. 2015) with seeded weights, and here and there what ten passes look for."""
    import numpy as np
    from onnx import helper, numpy_helper

    nodes, weights = [], []

    def add(op: str, reads: Sequence[str], **attributes: Any) -> str:
        made = f"{op}_{len(nodes)}"
        nodes.append(helper.make_node(op, list(reads), [f"{made}_out"], made, **attributes))
        return f"{made}_out"

    def weight(array: Any) -> str:
        weights.append(numpy_helper.from_array(np.asarray(array), f"w{len(weights)}"))
        return str(weights[-1].name)

    rng = np.random.Generator(np.random.PCG64(0))

    def conv(x: str, into: int, out: int, kernel: int = 1, stride: int = 1, pad: bool = True) -> str:
        scale = np.sqrt(2 / (into * kernel * kernel))
        w = weight(rng.standard_normal((out, into, kernel, kernel), np.float32) * np.float32(scale))
        b = weight(rng.standard_normal(out, np.float32) * np.float32(0.1))
        pads = [kernel // 2 if pad else 0] * 4
        return add("Conv", [x, w, b], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    def quirk(x: str, channels: int, number: int) -> str:
        """Write what one pass looks for behind ``x``."""
        one = np.ones((1, channels, 1, 1), np.float32)
        match number:
            case 0:
                return add("Identity", [x])
            case 2:
                stats = [weight(one.reshape(-1) * k) for k in (1.1, 0.1, 0.05, 0.9)]
                return add("BatchNormalization", [x, *map(str, stats)])
            case 3:
                return add("Mul", [x, weight(one)])
            case 4:
                return add("Transpose", [add("Transpose", [x], perm=[0, 2, 3, 1])], perm=[0, 3, 1, 2])
            case 5:
                bounds = [weight(np.float32(k)) for k in (-6, 6)]
                return add("Clip", [add("Clip", [x, *bounds]), *bounds])
            case 6:
                return add("Cast", [add("Cast", [x], to=11)], to=1)
            case 7:
                return add("HardSwish", [x])
        return x

    x = conv("image", 3, 64, 7, 2)
    x = add("MaxPool", [add("Relu", [x])], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    into, block = 64, 0
    for stage, (count, wide) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        for place in range(count):
            stride = 2 if stage and not place else 1
            side = conv(x, into, 4 * wide, 1, stride) if not place else x
            y = add("Relu", [conv(x, into, wide)])
            if block == 4:
                pads = weight(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
                y = add("Relu", [conv(add("Pad", [y, pads]), wide, wide, 3, stride, pad=False)])
            else:
                y = add("Relu", [conv(y, wide, wide, 3, stride)])
            y = conv(y, wide, 4 * wide)
            if block % 2 == 1:
                y = quirk(y, 4 * wide, {1: 0, 3: 2, 5: 3, 7: 4, 9: 5, 11: 6, 13: 7}.get(block, -1))
            x = add("Relu", [add("Add", [y, side])])
            into, block = 4 * wide, block + 1
    x = add("ReduceMean", [x, weight(np.array([2, 3]))], keepdims=1)
    x = add("Squeeze", [x, weight(np.array([2, 3]))])
    w = weight(rng.standard_normal((into, 1000), np.float32) * np.float32(0.02))
    nodes.append(helper.make_node("Gemm", [x, w, weight(np.zeros(1000, np.float32))], ["scores"], "Gemm"))
    graph = helper.make_graph(
        nodes,
        "resnet50",
        [helper.make_tensor_value_info("image", 1, [1, 3, height, width])],
        [helper.make_tensor_value_info("scores", 1, [1, 1000])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def cpu(action: Callable[..., Any], *given: Any) -> tuple[float, Any]:
    """Return the CPU seconds of a call, and what it returned."""
    started = time.process_time()
    found = action(*given)
    return time.process_time() - started, found


def bench_resnet() -> None:
    """Ten local passes on ResNet-50 at 512x1024: judged on cones, and each by a run of the whole graph."""
    from graphtool.graph import Graph
    from graphtool.parity.feed import draw
    from graphtool.parity.forecast import forecast
    from graphtool.parity.judge import Judge
    from graphtool.rewrite import Catalog, apply_stage, parse_pipeline

    catalog = Catalog()
    graph = Graph.from_proto(resnet())
    original, feed = graph.copy(), draw(graph)
    steps = []
    stages = parse_pipeline(",".join(PASSES), catalog)
    for stage in stages:
        before = graph.copy()
        outcome = apply_stage(graph, stage, catalog)
        assert outcome.applied.matches, f"{stage.spec.name} finds nothing"
        steps.append((stage.spec, outcome, before, graph.copy()))

    totals = {}
    for kind in ("whole", "cones"):
        record = kind == "cones" and (lambda: forecast(original, stages, catalog, feed.arrays))
        begun, judge = cpu(lambda record=record: Judge(original, feed, {}, record=record))
        assert judge.cones is not None
        judge.cones.on &= kind == "cones"
        costs = []
        for spec, outcome, before, after in steps:
            cost, verdict = cpu(judge.judge, spec, outcome, before, after)
            assert verdict.ok, (spec.name, verdict.reason)
            costs.append(cost)
            print(f"    {kind} {spec.name} ({spec.parity}): {cost:.3f} s, {verdict.judged}, {verdict.rule}")
        closed, closing = cpu(judge.close)
        assert closing is None or closing.verdict is None
        held, spilled = judge.cones.tape.held >> 20, judge.cones.tape.spilled >> 20
        print(f"    {kind}: recorded {held} MB in memory, {spilled} MB in the file")
        print(f"    {kind}: begin {begun:.2f} s, passes {sum(costs):.2f} s, end {closed:.2f} s")
        totals[kind] = begun, costs, closed
    (begun, naive, _), (began, costs, closed) = totals["whole"], totals["cones"]
    recording = max(0.0, began - begun)
    goal(
        "ten passes, recording and the run at the end, to ten whole runs",
        (sum(costs) + recording + closed) / sum(naive),
        0.25,
    )
    once = sorted(naive)[len(naive) // 2]
    goal("the dearest pass to a whole run", max(costs) / once, 0.05)
    print(f"  passes one by one: {', '.join(f'{100 * cost / once:.1f} %' for cost in costs)}")
    print(
        f"  the original's two runs counted on both sides: {(sum(costs) + began + closed) / (sum(naive) + begun):.3g}"
    )


# -- ICNet


def icnet(folder: Path) -> Path:
    """Write ICNet for 1x3x1024x2048."""
    from graphtool.zoo.icnet import write_icnet

    path = folder / "ICNet.onnx"
    write_icnet(path)
    return path


def bench_icnet() -> None:
    """The mission's passes on ICNet at 1024x2048: whole runs, counted in nodes that were run."""
    from graphtool import api
    from graphtool.graph import Graph
    from graphtool.parity.session import Session

    with tempfile.TemporaryDirectory() as folder:
        graph = Graph.load(icnet(Path(folder)))
        for passes in (MISSION, CLOSE):
            Session.work.runs = Session.work.nodes = 0
            state = api.run(graph, passes)
            for step in state.steps:
                assert step.verdict is not None
                print(f"    {step.name} ({step.stage.spec.parity}): {step.verdict.judged}, {step.verdict.rule}")
            goal("whole runs beyond the two of the original", Session.work.nodes / len(graph.nodes) - 2, 2)


# -- memory


def peak(*words: str) -> float:
    """Return the peak memory in MB of a fresh process that does one job of this file."""
    done = subprocess.run(
        [sys.executable, __file__, "--job", *words], check=True, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    return float(done.stdout.split()[-1])


def job(name: str, model: str) -> float:
    """Run onnxruntime or passes in this process; return the peak memory in MB: of all, or of what is no file."""
    if name == "onnxruntime":
        import numpy as np
        import onnxruntime as ort

        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        value = session.get_inputs()[0]
        session.run(None, {value.name: np.zeros(value.shape, np.float32)})
        return status("VmHWM")
    from graphtool import api

    if name != "large":
        api.run(api.load(model), name)
        return status("VmHWM")
    with sampled() as highest:
        state = api.run(api.load(model), "remove_identity,fuse_conv_bn,remove_neutral")
        assert state.ok and [step.status for step in state.steps] == ["applied"] * 3
    return highest[0]


def status(key: str) -> float:
    """Return a figure of /proc/self/status in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


@contextmanager
def sampled() -> Iterator[list[float]]:
    """Sample the memory of this process that is no file, and hold the highest figure in MB."""
    highest, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            highest[0] = max(highest[0], status("RssAnon"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield highest
    finally:
        done.set()
        thread.join()


def bench_memory() -> None:
    """Peak memory of the mission on ICNet, to that of one run in onnxruntime as it comes."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(icnet(Path(folder)))
        base = peak("onnxruntime", path)
        for passes in (MISSION, CLOSE):
            own = peak(passes, path)
            print(f"    onnxruntime {base:.0f} MB, graphtool {own:.0f} MB")
            goal(f"peak memory of {passes} to one run of onnxruntime", own / base, 1.3)


# -- numbers


def bench_numbers() -> None:
    """Numbers for every tensor of a graph of 100,000 nodes."""
    from graph_scale import make_model

    from graphtool.graph import Graph
    from graphtool.parity.hashes import Numbers

    with tempfile.TemporaryDirectory() as folder:
        make_model(100_000, Path(folder) / "scale.onnx")
        graph = Graph.load(Path(folder) / "scale.onnx")
        floor, _ = cpu(lambda: graph.proto.SerializeToString(deterministic=True))
        costs = [cpu(lambda: Numbers().of(graph, {"input": "input"}, {}))[0] for _ in range(5)]
        print(f"    {min(costs) / floor:.1f} times serialising the graph")
        goal("CPU seconds at 100,000 nodes", min(costs), 0.2)


# -- several GB


def bench_large() -> None:
    """Three passes on a model of 3 GB in an external file: the memory that is no file."""
    with tempfile.TemporaryDirectory() as folder:
        path, size = large(Path(folder))
        goal("memory that is no file, to the weights", peak("large", str(path)) / size, 0.25)


def large(folder: Path, layers: int = 12, width: int = 8192) -> tuple[Path, float]:
    """Write a row of MatMuls with zeros as weights, in a sparse file; return its path and the weights' size in MB."""
    from onnx import TensorProto, helper

    nodes, weights, x = [], [], "x"
    each = width * width * 4
    for layer in range(layers):
        tensor = TensorProto(name=f"w{layer}", data_type=1, dims=[width, width], data_location=TensorProto.EXTERNAL)
        for key, value in (("location", "weights"), ("offset", str(layer * each)), ("length", str(each))):
            tensor.external_data.add(key=key, value=value)
        weights.append(tensor)
        nodes.append(helper.make_node("MatMul", [x, tensor.name], [f"m{layer}"], f"m{layer}"))
        x = f"m{layer}"
        if layer == 3:
            nodes.append(helper.make_node("Identity", [x], ["same"], "same"))
            x = "same"
    ones = helper.make_tensor("one", 1, [1], [1.0])
    kernel = helper.make_tensor("kernel", 1, [1, 1, 1, 1], [2.0])
    stats = [helper.make_tensor(name, 1, [1], [0.5]) for name in ("scale", "bias", "mean", "var")]
    shapes = [helper.make_tensor(n, 7, [len(s)], s) for n, s in (("deep", [1, 1, 4, width]), ("flat", [4, width]))]
    nodes += [
        helper.make_node("Mul", [x, "one"], ["same2"], "same2"),
        helper.make_node("Reshape", ["same2", "deep"], ["image"], "image"),
        helper.make_node("Conv", ["image", "kernel"], ["conv"], "conv"),
        helper.make_node("BatchNormalization", ["conv", "scale", "bias", "mean", "var"], ["bn"], "bn"),
        helper.make_node("Reshape", ["bn", "flat"], ["y"], "y"),
    ]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", 1, [4, width])],
        [helper.make_tensor_value_info("y", 1, [4, width])],
        [*weights, ones, kernel, *stats, *shapes],
    )
    with (folder / "weights").open("wb") as file:
        file.truncate(layers * each)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "large.onnx").write_bytes(model.SerializeToString())
    return folder / "large.onnx", layers * each / (1 << 20)


PARTS: dict[str, Callable[[], None]] = {
    "resnet": bench_resnet,
    "icnet": bench_icnet,
    "memory": bench_memory,
    "numbers": bench_numbers,
    "large": bench_large,
}


def main() -> int:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"some of {' '.join(PARTS)}")
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.job:
        print(job(*words.job))
        return 0
    for name in words.parts or PARTS:
        print(name)
        PARTS[name]()
    print(f"missed: {', '.join(missed)}" if missed else "all goals are met")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
