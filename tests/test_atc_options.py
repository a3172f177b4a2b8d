"""The tables of ATC: whole, dated, checked on load, and the page written from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from clirun import Cli

from graphtool.atc import cann, findings, tables
from graphtool.atc.cann import Cann
from graphtool.atc.options import OPTIONS, RELATIONS, _read, conflicts, holds
from graphtool.errors import GraphtoolError, ProfileError
from graphtool.report.atc_options import page

ROOT = Path(__file__).resolve().parents[1]
# DEFINE_* of the ATC front end, GE v2.0.0 (2023-03), without those that other tools link in
FLAGS = """model output framework weight input_shape input_shape_range h cal_conf insert_op_conf op_name_map target om
json mode out_nodes op_precision_mode precision_mode modify_mixlist keep_dtype input_format check_report
input_fp16_nodes is_output_adjust_hw_layout is_input_adjust_hw_layout output_type op_select_implmode
optypelist_for_implmode singleop disable_reuse_memory auto_tune_mode soc_version core_type aicore_num buffer_optimize
fusion_switch_file save_original_model dynamic_batch_size dynamic_image_size dynamic_dims enable_small_channel
enable_compress_weight compress_weight_conf enable_single_stream log dump_mode op_debug_level
enable_scope_fusion_passes debug_dir op_compiler_cache_dir op_compiler_cache_mode mdl_bank_path op_bank_path
display_model_info device_id""".split()
LATER = """customize_dtypes precision_mode_v2 compression_optimize_conf sparsity virtual_type external_weight
shape_generalized_build_mode op_debug_config atomic_clean_policy deterministic host_env_os host_env_cpu
status_check""".split()
GONE = ["certificate", "encrypt_key", "encrypt_mode", "hardware_key", "private_key"]


def test_the_table_is_whole() -> None:
    assert len(FLAGS) == 54
    assert set(FLAGS + LATER + GONE) <= OPTIONS.keys()
    assert all(OPTIONS[name].until == Cann.parse("5.0.2") for name in GONE)
    assert OPTIONS["auto_tune_mode"].until == Cann.parse("6.0.1")
    assert {name for name in LATER if OPTIONS[name].since is None} == set()
    assert OPTIONS["modify_mixlist"].since == OPTIONS["op_precision_mode"].since == Cann.parse("5.0.2")


def test_every_relation_has_code_fix_and_source() -> None:
    assert len(RELATIONS) >= 16
    assert all(one.error.startswith("E1") and one.fix and one.source for one in RELATIONS)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "enum"}, "options.toml: x.help: missing"),
        ({"kind": "enm", "help": "h", "source": "GE 2025"}, "x.kind: unknown kind; did you mean 'enum'?"),
        ({"kind": "enum", "help": "h", "source": "GE"}, "x.source: has no date or version"),
        ({"kind": "enum", "help": 1, "source": "GE 2025"}, "x.help: '1' is not str"),
        ({"kind": "enum", "help": "h", "source": "GE 2025", "hlp": "h"}, "x.hlp: unknown key; did you mean 'help'?"),
        (
            {"kind": "enum", "help": "h", "source": "GE 2025", "values": ["a"], "default": "b"},
            "x.default: 'b' is none of the values",
        ),
        ({"kind": "text", "help": "h", "source": "GE 2025", "since": "five"}, "'five' is not a CANN version"),
    ],
)
def test_a_wrong_entry_is_named(monkeypatch: pytest.MonkeyPatch, entry: object, message: str) -> None:
    monkeypatch.setattr("graphtool.atc.options.table", lambda name: {"x": entry})
    with pytest.raises(GraphtoolError, match=message.replace(".", r"\.").replace("?", r"\?")):
        list(_read())


def test_versions_are_ordered() -> None:
    words = ["5.0.1", "5.0.2.alpha003", "5.0.2.alpha005", "5.0.2", "5.0.4", "5.0.4.6", "5.1.RC1", "6.0.RC1", "6.0.0"]
    found = [Cann.parse(word) for word in words]
    assert sorted(found, key=lambda one: one) == found and found[0] < found[-1]
    assert Cann.parse("CANN 7.0.0") == Cann.parse("7.0.0")
    for bad in ("", "5", "5.0", "5.0.x", "v5.0.1", "5.0.2.alpha", "999999.0.0", "5.0.²"):
        with pytest.raises(ProfileError, match="is not a CANN version"):
            Cann.parse(bad)


def test_a_release_speaks_for_those_after_it() -> None:
    assert str(cann.release(Cann.parse("5.0.4.6")).version) == "5.0.4"  # type: ignore[union-attr]
    assert cann.release(Cann.parse("1.0.0")) is None
    assert cann.release(Cann.parse("6.3.RC1")).opsets == (9, 13)  # type: ignore[union-attr]
    assert cann.release(Cann.parse("8.0.RC1")).opsets is None  # type: ignore[union-attr]


def test_operator_tables_bound_only_what_is_not_later() -> None:
    table = cann.plugins(Cann.parse("5.0.2"))
    assert table is not None and "Conv" in table and "Loop" not in table and len(table.opsets) == 177
    assert cann.plugins(Cann.parse("6.0.1")) is None
    with pytest.raises(ProfileError, match="unknown operator table 'ascend310p3_2022_06'; did you mean"):
        cann.operators("ascend310p3_2022_06")


def test_terms() -> None:
    assert holds("!input_format", {}) is True and holds("input_format=ND", {}) is False
    assert holds("precision_mode=allow_mix_precision*", {"precision_mode": "allow_mix_precision_fp16"})
    assert holds("input_format=ND", {"input_format": "$1"}, lambda text: "$" not in text) is None
    assert [name for name, _, _ in conflicts({"dynamic_dims": "1", "dynamic_batch_size": "1", "input_shape": "x:-1"})]


CASES = {
    "E10009": {"dynamic_batch_size": "1,2", "dynamic_dims": "1;2", "input_shape": "x:-1,2", "input_format": "ND"},
    "E10004": {"dynamic_batch_size": "1,2"},
    "E10002": {"input_shape": "1,2"},
    "E10011": {"input_shape": "x:1,0"},
    "E10014": {"input_shape": "x:n,2"},
    "E10013": {"input_shape": "x:1,9999999999999999999"},
    "E10040": {"input_shape": "x:1~8,2", "dynamic_batch_size": "1,2"},
    "E10003": {"dynamic_batch_size": "1;2", "input_shape": "x:-1,2"},
    "E10031": {"dynamic_batch_size": "1,2", "input_shape": "x:1,2"},
    "E10018": {"dynamic_batch_size": "1,2", "input_shape": "x:1,-1"},
    "E10035": {"dynamic_batch_size": "4", "input_shape": "x:-1,2"},
    "E10036": {"dynamic_batch_size": ",".join(map(str, range(1, 102))), "input_shape": "x:-1,2"},
    "E10038": {"dynamic_batch_size": "0,1", "input_shape": "x:-1,2"},
    "E10039": {"dynamic_batch_size": "1,1", "input_shape": "x:-1,2"},
    "E10020": {"dynamic_image_size": "1,2,3;4,5,6", "input_shape": "x:1,3,-1,-1"},
    "E10019": {"dynamic_image_size": "8,8;4,4", "input_shape": "x:-1,3,-1,-1"},
    "E10045": {"dynamic_dims": "1;2", "input_shape": "x:-1,2;y:-1", "input_format": "ND"},
    "E10037": {"dynamic_dims": "1;2,3", "input_shape": "x:-1,2", "input_format": "ND"},
    "E10048": {"input_shape_range": "x:1~2"},
    "E10047": {"enable_compress_weight": "true", "compress_weight_conf": "a.cfg"},
    "E10056": {"precision_mode": "force_fp32", "precision_mode_v2": "fp16"},
    "E10005": {"is_output_adjust_hw_layout": "yes", "out_nodes": "a:0"},
    "E10006": {"disable_reuse_memory": "2"},
    "E10007": {"framework": "4"},
    "E10008": {"framework": "0"},
    "E10010": {"log": "eror"},
    "E10022": {"output": "om/"},
    "E10021": {"output": "o" * 5000},
    "E10034": {"insert_op_conf": "a.cfg", "input_fp16_nodes": "x", "input_shape": "x:1,3,8,8"},
}
FINE = {"framework": "5", "model": "m.onnx", "output": "m", "soc_version": "Ascend310"}


@pytest.mark.parametrize("code", CASES)
def test_each_violation_has_its_code(code: str) -> None:
    found = findings.inspect({**FINE, **CASES[code]})
    assert code in {one.code for one in found if one.level == "error"}, [one.text() for one in found]
    assert all(one.source for one in found)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("out_nodes", "labels;dets"), ("out_nodes", "a:b:0"), ("output_type", "FP8"), ("output_type", "a:0:FP16"),
        ("op_select_implmode", "high_preformance"), ("precision_mode", "fp16"), ("input_format", "NHWC"),
        ("modify_mixlist", "a.json"), ("optypelist_for_implmode", "Gelu"), ("soc_version", "310P3"), ("mode", "9"),
        ("insert_op_conf", "my file.cfg"),
    ],
)  # fmt: skip
def test_bad_values_are_e10001(option: str, value: str) -> None:
    assert {one.code for one in findings.inspect({**FINE, option: value})} == {"E10001"}


def test_static_and_dynamic_commands_that_are_right_get_no_complaint() -> None:
    for extra in (
        {},
        {"input_shape": " x: 1,3,8,8 ; y: 1", "out_nodes": "a:0;b:1", "output_type": "a:0:FP16;b:1:FP32"},
        {"input_shape": "x:-1,3,8,8", "dynamic_batch_size": "1,4,8", "insert_op_conf": "a.cfg"},
        {"input_shape": "x:1,3,-1,-1", "dynamic_image_size": "8,8;16,8", "input_format": "NCHW"},
        {"input_shape": "x:-1,-1;y:-1", "dynamic_dims": "1,2,1;2,4,2", "input_format": "ND"},
        {"input_shape": "x:${bs},3,$h,$w", "dynamic_image_size": "${sizes}"},
        {"input_shape": "${shapes}", "soc_version": "$1", "output": "{out}", "out_nodes": "$nodes"},
        {"input_shape": "s:", "soc_version": "Ascend910ProB"},
        {"framework": "0", "weight": "a.caffemodel", "out_nodes": "prob"},
        {"framework": "3", "input_shape": "x:1,-1,-1,3", "dynamic_image_size": "8,8;16,8"},
        {"precision_mode": "allow_mix_precision_fp16", "modify_mixlist": "./a.json", "log": "null"},
    ):
        assert findings.inspect({**FINE, **extra}) == [], extra


def test_releases_decide_what_they_can() -> None:
    ranged = {**FINE, "input_shape": "x:1~8,3"}
    assert [one.level for one in findings.inspect(ranged)] == ["warning"]
    assert [one.level for one in findings.inspect(ranged, Cann.parse("5.0.2"))] == ["error"]
    assert findings.inspect(ranged, Cann.parse("7.0.0")) == []
    tuned = {**FINE, "auto_tune_mode": "RL,GA"}
    assert findings.inspect(tuned, Cann.parse("5.1.RC2")) == []
    assert [one.level for one in findings.inspect(tuned, Cann.parse("6.0.1"))] == ["error"]
    (found,) = findings.inspect({**FINE, "op_precision_mode": "a.ini"}, Cann.parse("5.0.1"))
    assert (found.level, found.source) == ("warning", "inferred: GraphEngine v1.3.0, 2021-07")


def test_a_broken_table_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tables, "data_dir", lambda kind: tmp_path)
    with pytest.raises(GraphtoolError, match=r"atc_profiles/tables/none\.toml: .*; install graphtool again"):
        tables.table("none")


def test_the_page_is_what_the_tables_say(tmp_path: Path) -> None:
    assert (ROOT / "docs/atc_options.md").read_text() == page(), "make docs"
    cli = Cli(tmp_path)
    assert "differs" in cli("atc", "docs", tmp_path / "a.md", "--check").out
    assert cli("atc", "docs", tmp_path / "a.md").code == 0
    assert cli("atc", "docs", tmp_path / "a.md", "--check").code == 0
    assert all(f"`{name}`" in page() for name in OPTIONS)
