"""The catalogue of profiles, the files they describe, and the releases that bound their passes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from clirun import NET, Cli

from graphtool.atc import default_profile, list_profiles, load_profile
from graphtool.atc.allowed import refuse
from graphtool.errors import ProfileError
from graphtool.rewrite import Catalog, parse_pipeline

IMAGE = """<ir_version: 8, opset_import: ["": 11]>
g (float[N,3,H,W] x) => (float[N,4,H,W] y)
<float[4,3,1,1] w = {1,2,3,4,5,6,7,8,9,10,11,12}> { [conv] y = Conv(x, w) }"""
STATIC = IMAGE.replace("[N,3,H,W]", "[1,3,8,16]").replace("[N,4,H,W]", "[1,4,8,16]")
FILES = """extends = "ascend310"
[options]
precision_mode = "allow_mix_precision"
[files]
keep_dtype = ["conv", "OpType::Conv2D"]
op_precision_mode = { Gelu = "high_performance", by_node = { "conv" = "high_precision" } }
modify_mixlist = { black-list = { to-add = ["LayerNorm"] } }
fusion_switch_file = { GraphFusion = { ALL = "on" }, UBFusion = { TbeEltwiseFusionPass = "off" } }
customize_dtypes = ["conv::InputDtype:float16,OutputDtype:float16"]
[files.insert_op_conf]
aipp_mode = "static"
input_format = "RGB888_U8"
src_image_size_h = 8
src_image_size_w = 16
var_reci_chn_0 = 0.5
"""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path)


def test_every_shipped_profile_holds(cli: Cli) -> None:
    out = cli.ok("profiles", "test")
    assert out.endswith(f"{len(list_profiles())} passed, 0 failed\n")
    names = {one["name"] for one in cli("profiles", "list", "--json").json()["profiles"]}
    assert {"ascend310", "ascend310p3", "icnet_ascend310", "icnet_ascend310_exact", "bert_ascend310"} <= names


def test_a_chip_without_a_table_has_none(cli: Cli) -> None:
    assert load_profile("ascend310").operators == default_profile().operators == "ascend310_2022_06"
    assert load_profile("ascend310p3").operators is default_profile("Ascend310P3").operators is None
    cli.write("p3.toml", 'extends = "ascend310"\n[options]\nsoc_version = "Ascend310P3"')
    assert load_profile("p3.toml").operators is None
    assert "operators of Ascend310P3: no table" in cli.ok("profiles", "show", "p3.toml")


def test_new_and_test(cli: Cli) -> None:
    cli.ok("profiles", "new", "mine")
    assert "1 passed, 0 failed" in cli.ok("profiles", "test", "atc_profiles")
    assert "is there already" in cli.refused("profiles", "new", "mine")
    assert "is a shipped profile" in cli.refused("profiles", "new", "ascend310")
    assert "is no name for a profile" in cli.refused("profiles", "new", "../x")
    assert "is not a folder" in cli.refused("profiles", "test", "none")
    for name, text, fault in (
        ("a", "batches = 1", "atc_profiles/a.toml: batches: 1 is not a list of batch sizes"),
        ("b", "extends = 'ascend310'\n[passes]\npipeline = 'no_such'", "atc_profiles/b.toml: unknown pass 'no_such'"),
        (
            "c",
            "extends = 'ascend310'\n[passes]\nprune_outputs.kep = ['a']",
            "passes.prune_outputs.kep: the pass has no",
        ),
        ("d", "summary = 'x'", "options.soc_version: missing"),
        (
            "e",
            "extends = 'icnet_ascend310'\n[passes]\npipeline = 'fuse_gelu'",
            "it needs opset 20, and CANN 5.0.2.alpha",
        ),
    ):
        cli.write(f"atc_profiles/{name}.toml", text)
        ended = cli("profiles", "test", "atc_profiles")
        assert ended.code == 1 and fault in ended.out, ended.out
        Path(f"atc_profiles/{name}.toml").unlink()
    assert cli("profiles", "test", "--json").json()["ok"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cann = 'five'", "cann: 'five' is not a CANN version such as"),
        ("operators = 'ascend310p3'", "operators: unknown operator table 'ascend310p3'"),
        ("environment = 'shell'", "environment: 'shell' is not one of auto, set_env, exports"),
        ("files = 1", "files: 1 is not a table"),
        ("[files]\nkeep_dtyp = []", "files.keep_dtyp: unknown file; did you mean 'keep_dtype'?"),
        ("[files]\nkeep_dtype = []", "files.keep_dtype: not a list of names"),
        ("[files]\nkeep_dtype = ['a b']", "files.keep_dtype: keep_dtype: line 1: 'a b' is neither the name of an"),
        ("[files.insert_op_conf]\naip_mode = 'static'", "files.insert_op_conf.aip_mode: aipp_op has no such field;"),
        ("[files.insert_op_conf]\naipp_mode = 'static'", "files.insert_op_conf: input_format: line 1: missing"),
        ("[files.fusion_switch_file]\nGraph = {A='off'}", "files.fusion_switch_file: fusion_switch_file: 'Graph' is"),
        ("[files.modify_mixlist]\nblack = {}", "files.modify_mixlist: modify_mixlist: 'black' is none of"),
        ("[options]\nmode = 1", "options.mode: is for another framework or use of ATC"),
    ],
)
def test_mistakes_name_key_and_reason(cli: Cli, text: str, message: str) -> None:
    cli.write("mine.toml", text)
    with pytest.raises(ProfileError) as caught:
        load_profile("mine.toml")
    assert str(caught.value).startswith(f"mine.toml: {message}")


def test_files_are_written_and_held_against_the_graph(cli: Cli) -> None:
    model = cli.save("net.onnx", STATIC)
    cli.write("p.toml", FILES)
    out = cli.ok("atc", "emit", "--profile", "p.toml", model, "-o", "atc.sh")
    line = next(row for row in out.splitlines() if row.startswith("atc "))
    for word in ("insert_op_conf=net.aipp.cfg", "keep_dtype=net.keep.cfg", "modify_mixlist=net.mixlist.json"):
        assert f"--{word} " in line
    assert "# AIPP: input 'x' is fed as a uint8 image" in out
    assert Path("net.keep.cfg").read_text() == "conv\nOpType::Conv2D\n"
    assert Path("net.precision.ini").read_text() == "Gelu=high_performance\n[ByNodeName]\nconv=high_precision\n"
    assert json.loads(Path("net.fusion.cfg").read_text())["Switch"]["UBFusion"] == {"TbeEltwiseFusionPass": "off"}
    assert "src_image_size_w: 16" in Path("net.aipp.cfg").read_text()
    assert cli.ok("atc", "emit", "--profile", "p.toml", model, "-o", "atc.sh") == out  # the same files may stay
    cli.write("net.keep.cfg", "another\n")
    assert "says something else" in cli.refused("atc", "emit", "--profile", "p.toml", model, "-o", "atc.sh")
    for old, new, fault in (
        ('"conv", "Op', '"cnv", "Op', "files.keep_dtype: line 1: the graph has no node 'cnv'; did you mean 'conv'?"),
        ("size_w = 16", "size_w = 32", "files.insert_op_conf: line 1: AIPP gives 8x32, input 'x' takes 8x16"),
        ("RGB888_U8", "YUV400_U8", "gives 1 channels, input 'x' has 3"),
    ):
        cli.write("p.toml", FILES.replace(old, new))
        assert fault in cli.refused("atc", "emit", "--profile", "p.toml", model)


def test_a_given_file_is_checked_where_it_is(cli: Cli) -> None:
    model = cli.save("net.onnx", STATIC)
    words = ("atc", "emit", model, "--atc", "keep_dtype=k.cfg")
    assert "there is no 'k.cfg' here, so it was not checked" in cli.ok(*words)
    cli.write("k.cfg", "nobody\n")
    assert "'k.cfg': line 1: the graph has no node 'nobody' (ATC: E10016)" in cli.refused(*words)
    cli.write("k.cfg", "conv\n")
    assert "not checked" not in cli.ok(*words)


def test_gears_open_what_is_symbolic(cli: Cli) -> None:
    model = cli.save("net.onnx", IMAGE)

    def emitted(*words: str) -> str:
        ended = cli("atc", "emit", model, "--no-check", *words)
        assert ended.code == 0, ended.err
        return ended.out.splitlines()[-1]

    size = emitted("--atc", "dynamic_image_size=8,8;16,8", "--batch", "1")
    assert '--input_shape="x:1,3,-1,-1" --dynamic_image_size="8,8;16,8"' in size
    dims = emitted("--atc", "dynamic_dims=1,8,8;4,16,16")
    assert '--input_format=ND --input_shape="x:-1,3,-1,-1" --dynamic_dims="1,8,8;4,16,16"' in dims
    cli.save("batch.onnx", IMAGE.replace("H,W", "8,16"))
    out = cli.ok("atc", "emit", "batch.onnx", "--atc", "dynamic_batch_size=1,4")
    assert '--output=batch --input_format=NCHW --input_shape="x:-1,3,8,16" --dynamic_batch_size="1,4"' in out
    assert "# batch 4: 4 different items come out as each does alone" in out
    refused = cli("atc", "emit", model, "--no-check", "--atc", "dynamic_dims=1,8;4,16").err
    assert "2 numbers a gear for 3 -1 in input_shape (x[0], x[2], x[3]) (ATC: E10045)" in refused
    refused = cli("atc", "emit", model, "--no-check", "--atc", "dynamic_image_size=8,8;8,8", "--batch", "1").err
    assert "gear 8,8 is there twice (ATC: E10039)" in refused


def test_releases_bound_options_and_passes(cli: Cli) -> None:
    profile, catalog = load_profile("icnet_ascend310"), Catalog()
    for text, reason in (
        ("convert_opset:to=13", "it converts to opset 13, and CANN 5.0.2.alpha003 reads ONNX up to opset 11"),
        ("fuse_gelu", "it needs opset 20"),
        ("insert_node:at=x:operator=Gelu", "it makes Gelu, and CANN 5.0.2.alpha003 has no parser plugin for that"),
    ):
        with pytest.raises(ProfileError) as caught:
            refuse(parse_pipeline(text, catalog), catalog, profile)
        assert reason in str(caught.value) and "20" in str(caught.value)
    refuse(parse_pipeline("optimize,convert_opset:to=11,adaptive_pool_to_ascend", catalog), catalog, profile)
    refuse(parse_pipeline("fuse_gelu", catalog), catalog, load_profile("ascend310"))
    model = cli.save("net.onnx", NET)
    assert "is not for atc_profiles/icnet_ascend310.toml" in cli.refused(
        "run", "--profile", "icnet_ascend310", "-p", "fuse_gelu", model
    )
    cli.write("p.toml", 'extends="ascend310"\ncann="6.0.1"\n[options]\nauto_tune_mode="RL,GA"')
    assert "options.auto_tune_mode: gone since CANN 6.0.1" in cli.refused("atc", "emit", "--profile", "p.toml", model)
    cli.write("p.toml", 'extends="ascend310"\ncann="5.0.1"\n[options]\nop_precision_mode="a.ini"')
    assert "CANN 5.0.1 does not have it, 5.0.2 does" in cli.ok("atc", "emit", "--profile", "p.toml", model)


def test_a_makefile_and_argument_vectors(cli: Cli, tmp_path: Path) -> None:
    model = cli.save("net.onnx", STATIC)
    cli.write(
        "p.toml",
        'extends = "ascend310"\nenvironment = "set_env"\nset_env = "env dir/set_env.sh"\n'
        '[options]\noutput = "om/{stem}_bs{batch}"',
    )
    cli.ok("atc", "emit", "--profile", "p.toml", model, "-o", "Makefile")
    cli.ok("atc", "emit", "--profile", "p.toml", model, "-o", "atc.json")
    cli.ok("atc", "emit", "--profile", "p.toml", model, "-o", "atc.sh")
    (command,) = json.loads(Path("atc.json").read_text())["commands"]
    assert command["argv"][:3] == ["atc", "--framework=5", "--model=net.onnx"] and command["batch"] == 1
    assert (command["log"], command["files"]) == ("om/net_bs1.atc.log", [])
    (tmp_path / "env dir").mkdir()
    cli.write("env dir/set_env.sh", f'PATH="{tmp_path}/bin:$PATH"\n')
    (tmp_path / "bin").mkdir()
    cli.write(
        "bin/atc",
        '#!/bin/bash\nfor word; do [[ $word == --output=* ]] && touch "${word#--output=}.om"; done\necho "$@"\n',
    )
    (tmp_path / "bin/atc").chmod(0o755)
    for run in (["make"], ["bash", "atc.sh"]):
        done = subprocess.run(
            run, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done
        assert "--framework=5" in Path("om/net_bs1.atc.log").read_text()
        Path("om/net_bs1.atc.log").unlink()
    assert (
        "Nothing to be done"
        in subprocess.run(["make"], cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    )
    odd = cli.save("a$b.onnx", STATIC)
    assert "is no name that a Makefile can spell" in cli.refused("atc", "emit", odd, "-o", "x.mk")
