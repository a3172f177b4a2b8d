"""The same command twice, with another hash seed and another number of threads: the same bytes, model and reports."""

from __future__ import annotations

from pathlib import Path

from clirun import child

from graphtool.cases import model_of

# branches, equal nodes, constants to fold, a body: what passes keep in sets and dictionaries on the way
NET = """g (float[1,3,16,24] x, bool c) => (float[1,5,32,48] y, float[1,5,16,24] z, float[1,3,384] s)
<float[5,3,3,3] w, float[5] b, float[4] k = {1,1,2,2}, float[1] two = {2}, int64[3] shape = {1,3,384},
 int64[1] zero = {0}, int64[1] one = {1}, int64[1] three = {3}> {
  a = Conv<pads=[1,1,1,1]>(x, w, b)
  d = Conv<pads=[1,1,1,1]>(x, w, b)
  e = Add(two, two)
  m = Mul(a, e)
  n = Mul(d, e)
  f = If<then_branch = t () => (float[1,5,16,24] p) { p = Add(m, n) },
         else_branch = u () => (float[1,5,16,24] q) { q = Sub(m, n) }>(c)
  z = Identity(f)
  y = Resize<mode="linear", coordinate_transformation_mode="align_corners">(z, , k)
  h = Slice(z, zero, three, one)
  o = Softmax<axis=1>(h)
  s = Reshape(o, shape)
}"""
FORMATS = ("json", "sarif", "junit", "github", "markdown")


def every_file(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_bytes_whatever_the_hash_seed_and_the_threads(tmp_path: Path) -> None:
    found = []
    for seed, threads in (("0", "1"), ("4242", "3")):
        folder = tmp_path / seed
        folder.mkdir()
        model_of(NET, 13).save(folder / "m.onnx")
        changed = {
            "PYTHONHASHSEED": seed,
            "GRAPHTOOL_THREADS": threads,
            "XDG_STATE_HOME": str(tmp_path / "state" / seed),
        }
        reports = [word for kind in FORMATS for word in ("--report", f"{kind}:run.{kind}")]
        passes = "optimize,resize_linear_to_matmul,output_fp16"
        ended = child(["graphtool", "run", "-p", passes, "m.onnx", *reports], folder, **changed)
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        words = ["graphtool", "golden", "record", "g", "m.onnx", "--from-run", passes]
        assert child(words, folder, **changed).returncode == 0
        found.append(every_file(folder))
    first, second = found
    assert first.keys() == second.keys() and len(first) == 2 + len(FORMATS) + 2 + 4
    assert [name for name in first if first[name] != second[name]] == []
    assert b"seconds" not in first["run.json"]
