"""AIPP: configurations read, checked and written; the CPU model against preprocessing in floats; other config files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from clirun import Cli
from hypothesis import given, settings
from hypothesis import strategies as st

from graphtool.atc import aipp, aipp_cpu, configs
from graphtool.atc.aipp_make import Wish, make
from graphtool.errors import UsageError

SAMPLES = Path(__file__).resolve().parents[2] / "shared/ascend/samples"
BASE = "aipp_op {\n aipp_mode: static\n input_format: RGB888_U8\n}\n"
NET = """<ir_version: 8, opset_import: ["": 11]>
g (float[1,3,8,16] x, float[1,4] z) => (float[1,3,8,16] y) { y = Relu(x) }"""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path)


def faults(text: str, dynamic: bool = False) -> list[str]:
    ops, found = aipp.read(text)
    return [one.text() for one in (*found, *aipp.check(ops, dynamic)) if one.level != "note"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("crp: true", "crp: line 4: aipp_op has no such field; did you mean 'crop'? (E10052)"),
        ("mean_chn_0: 123.675", "mean_chn_0: line 4: '123.675' is not a whole number (E10052); write it in min_chn"),
        ("min_chn_0: abc", "min_chn_0: line 4: 'abc' is not a number"),
        ("crop: maybe", "crop: line 4: 'maybe' is not true or false"),
        ("src_image_size_w：8", "src_image_size_w: line 4: a full-width colon"),
        ("src_image_size_w: -8", "src_image_size_w: line 4: -8 is below 0"),
        ("src_image_size_w: 5000", "src_image_size_w: line 4: 5000 is above 4096"),
        ("crop: true crop: true", "crop: line 4: given twice"),
        ("csc_switch: true", "csc_switch: line 1: true without a matrix"),
        ("crop_size_w: 4", "crop: line 1: not true, so crop_size and load_start_pos have no effect"),
        ("crop: true src_image_size_w: 8 load_start_pos_w: 5 crop_size_w: 4", "crop_size_w: line 1: 5 + 4 is beyond"),
        ("left_padding_size: 4", "padding: line 1: not true"),
        ("var_reci_chn_0: 0", "var_reci_chn_0: line 1: 0 makes every pixel 0"),
        ("input_format", "input_format: line 4: 'input_format' is not FIELD: VALUE"),
        ("} aipp_op { aipp_mode: static input_format: RGB888_U8", "related_input_rank: line 4: input '0' has two"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(line: str, fault: str) -> None:
    assert faults(BASE) == []
    found = faults(BASE.replace("}", f"{line}\n}}"))
    assert any(one.startswith(fault) for one in found), found


def test_modes() -> None:
    assert "aipp_mode: line 1: missing" in faults("aipp_op { input_format: RGB888_U8 }")[0]
    assert "input_format: line 1: missing" in faults("aipp_op { aipp_mode: static }")[0]
    assert "'statc' is not static or dynamic; did you mean 'static'?" in faults("aipp_op { aipp_mode: statc }")[0]
    assert "dynamic AIPP needs the bytes" in faults("aipp_op { aipp_mode: dynamic }")[0]
    assert faults("aipp_op: { aipp_mode: 2, max_src_image_size: 752640; }  # comment") == []
    assert "with dynamic_image_size it is 0" in faults(BASE.replace("}", "src_image_size_w: 8 }"), True)[0]
    assert "neither crops nor pads" in faults(BASE.replace("}", "padding: true }"), True)[0]
    odd = BASE.replace("RGB888", "YUV420SP").replace("}", "load_start_pos_w: 3 crop: true crop_size_w: 4 }")
    assert any("3 is odd" in one for one in faults(odd))
    for text in ("", "CLASS_NUM=1000\n", "aipp_op {"):
        assert faults(text)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 90),
            st.integers(0, 9),
            st.sampled_from(["{", "}", ":", "：", "#", "x", "1e9999", "\n", '"', "-1", "é", "\x00"]),
        ),
        max_size=5,
    )
)
def test_nothing_makes_the_reader_fall_over(edits: list[tuple[int, int, str]]) -> None:
    text = BASE.replace("}", "min_chn_0: 1.5\nvar_reci_chn_0: 2\n}")
    for start, length, put in edits:
        text = text[:start] + put + text[start + length :]
    ops, found = aipp.read(text)
    assert all(one.reason for one in (*found, *aipp.check(ops)))
    kept = [op.values for op in ops]
    assert [op.values for op in aipp.read(aipp.write(ops))[0]] == kept


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples at hand")
def test_samples_are_read_and_what_is_flagged_is_right() -> None:
    flagged = {}
    for path in sorted((SAMPLES / "aipp").iterdir()):
        ops, found = aipp.read(path.read_bytes().decode())
        wrong = [one for one in (*found, *aipp.check(ops)) if one.level == "error"]
        if wrong:
            flagged[path.name] = wrong
        else:
            assert len(ops) == 1 and aipp.read(aipp.write(ops))[0][0].values == ops[0].values
    assert len(flagged) == 4  # three lists of classes, and one with full-width colons
    assert sum("no AIPP configuration" in one[0].reason for one in flagged.values()) == 3
    for path in sorted((SAMPLES / "conf").iterdir()):
        kinds = {".ini": "op_precision_mode", ".json": "modify_mixlist"}
        kind = kinds.get(path.suffix, "fusion_switch_file" if "switch" in path.name else "keep_dtype")
        kind = "customize_dtypes" if "customize" in path.name else kind
        assert configs.check(kind, path.read_text()) == [], path.name


@pytest.mark.parametrize("swap", [False, True])
def test_aipp_equals_the_float_preprocessing(swap: bool) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=np.uint8)
    op = make(Wish(MEAN, STD, size=(8, 16), swap=swap))
    colours = image[:, :, ::-1] if swap else image
    wanted = ((colours / 255.0 - MEAN) / STD).transpose(2, 0, 1)[None]
    assert np.abs(aipp_cpu.apply(op, image) - wanted).max() < 1e-6
    assert np.abs(aipp_cpu.apply(op, image, half=True) - wanted).max() < 2e-3
    wrong = make(Wish(MEAN[::-1], STD, size=(8, 16), swap=swap))
    assert np.abs(aipp_cpu.apply(wrong, image) - wanted).max() > 0.1


def test_crop_and_border_come_where_the_hardware_has_them() -> None:
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    op = make(Wish((0.5,), (0.5,), scale=1, crop=(1, 2, 3, 4)))
    op.values |= {"padding": [True], "left_padding_size": [1], "bottom_padding_size": [2]}
    found = aipp_cpu.apply(op, image)
    assert found.shape == (1, 3, 5, 5) and aipp.output_size(op) == (5, 5)
    assert np.array_equal(found[0, :, :3, 1:], (image[1:4, 2:6].transpose(2, 0, 1) - 0.5) * 2)
    assert not found[0, :, 3:].any() and not found[0, :, :, 0].any()  # 0 for the model, not -mean / std


def test_yuv_is_converted_by_the_matrix() -> None:
    gray = np.full((6, 4), 128, np.uint8)
    gray[:4] = 100
    op = make(Wish((0,), (1,), scale=1, layout="YUV420SP_U8"))
    assert np.array_equal(aipp_cpu.apply(op, gray), np.full((1, 3, 4, 4), 100, np.float32))
    red = gray.copy()
    red[4:, 1::2] = 228  # V
    assert aipp_cpu.apply(op, red)[0, :, 0, 0].tolist() == [240, (256 * 100 - 183 * 100) >> 8, 100]
    op.values["rbuv_swap_switch"] = [True]
    assert aipp_cpu.apply(op, red)[0, 2, 0, 0] > 240
    for bad, text in ((np.zeros((5, 4), np.uint8), "a YUV420SP image is"), (np.zeros((6, 4)), "AIPP takes uint8")):
        with pytest.raises(UsageError, match=text):
            aipp_cpu.apply(op, bad)  # type: ignore[arg-type]


def test_the_commands(cli: Cli) -> None:
    model = cli.save("net.onnx", NET)
    out = cli.ok("atc", "aipp", "write", "--preset", "cityscapes", "--model", model, "-o", "a.cfg")
    assert "a sample is 384 bytes in place of 1536" in out and "HWC" in out
    assert "src_image_size_h: 8" in Path("a.cfg").read_text()
    assert "can be used" in cli.ok("atc", "aipp", "check", "a.cfg", "--model", model)
    data = cli("atc", "aipp", "check", "a.cfg", "--json").json()
    assert data["ok"] and data["ops"][0]["steps"][0] == "reads RGB888_U8 of 8x16"
    image = np.random.default_rng(1).integers(0, 256, (8, 16, 3), dtype=np.uint8)
    np.save("i.npy", image)
    image.tofile("i.bin")
    cli.ok("atc", "aipp", "apply", "a.cfg", "i.npy", "-o", "f.npy")
    cli.ok("atc", "aipp", "apply", "a.cfg", "i.bin", "-o", "g.npy")
    assert np.array_equal(np.load("f.npy"), np.load("g.npy")) and np.load("f.npy").shape == (1, 3, 8, 16)
    cli.write("b.cfg", BASE.replace("RGB888", "YUV400"))
    ended = cli("atc", "aipp", "check", "b.cfg", "--model", model)
    assert ended.code == 1 and "gives 1 channels, input 'x' has 3" in ended.out
    assert "says something else" in cli.refused("atc", "aipp", "write", "--preset", "none", "-o", "a.cfg")
    for words, text in (
        (("--preset", "cityscape"), "imagenet, cityscapes, none; did you mean 'cityscapes'?"),
        ((), "give --preset, or --mean and --std"),
        (("--mean", "1,x", "--std", "1"), "'1,x' is not NUMBER,NUMBER,NUMBER"),
        (("--mean", "1,2", "--std", "1"), "mean has 2 values, the image has 3 channels"),
        (("--mean", "1", "--std", "0"), "std and scale are above 0"),
        (("--preset", "none", "--size", "8"), "'8' is not HEIGHT,WIDTH"),
        (("--preset", "none", "--order", "grb"), "'grb' is not one of rgb, bgr"),
        (("--preset", "none", "--format", "RGB"), "is not one of RGB888_U8"),
        (("--preset", "none", "--model", "net.onnx", "--input", "1"), "input 'z' is float32[1,4]; AIPP feeds four"),
        (("--preset", "none", "--model", "net.onnx", "--input", "2"), "the model has 2 inputs"),
    ):
        assert text in cli.refused("atc", "aipp", "write", *words)
    assert "has 384 bytes, an image of 9x16" in cli.refused(
        "atc", "aipp", "apply", "a.cfg", "i.bin", "-o", "h.npy", "--size", "9,16"
    )
    assert "the image has 4" in cli.refused(
        "atc", "aipp", "apply", "a.cfg", cli.write("x.npy", _npy((4, 16, 3))), "-o", "h.npy"
    )


def _npy(shape: tuple[int, ...]) -> bytes:
    import io

    file = io.BytesIO()
    np.save(file, np.zeros(shape, np.uint8))
    return file.getvalue()


@pytest.mark.parametrize(
    ("option", "text", "fault"),
    [
        ("fusion_switch_file", "A:of", "line 1: 'A:of' is not PASS:on or PASS:off"),
        ("fusion_switch_file", '{"Switch": {"UBFusion": {"A": "of"}}}', "UBFusion.A: 'of' is neither on nor off"),
        ("fusion_switch_file", '{"Switches": {}}', 'the only key is "Switch"'),
        ("fusion_switch_file", "{", "not JSON"),
        ("keep_dtype", "a\nOpType:Pow::x\n", "line 2: 'OpType:Pow::x' is neither"),
        ("op_precision_mode", "[ByName]\n", "section '[ByName]' is neither"),
        ("op_precision_mode", "Gelu high\n", "line 1: 'Gelu high' is not NAME=MODE"),
        ("op_precision_mode", "Gelu=high_preformance", "did you mean 'high_performance'?"),
        ("modify_mixlist", '{"blacklist": {}}', "did you mean 'black-list'?"),
        ("modify_mixlist", '{"black-list": {"add": []}}', "black-list.add: neither to-add nor to-remove"),
        ("modify_mixlist", '{"black-list": {"to-add": "A"}}', "not a list of operator types"),
        ("customize_dtypes", "a:InputDtype:float16", "cannot be read"),
        ("customize_dtypes", "a::InputDtype:flot16", "'flot16' is not a type; did you mean 'float16'?"),
    ],
)
def test_other_files(option: str, text: str, fault: str) -> None:
    assert any(fault in one.text() for one in configs.check(option, text)), configs.check(option, text)


def test_written_files_are_read_back() -> None:
    values: dict[str, object] = {
        "keep_dtype": ["a", "OpType::Pow"],
        "op_precision_mode": {"Gelu": "high_performance", "by_node": {"a": "high_precision"}},
        "modify_mixlist": {"black-list": {"to-add": ["LayerNorm"], "to-remove": []}},
        "fusion_switch_file": {"GraphFusion": {"ALL": "off"}},
        "customize_dtypes": ["OpType::MatMulV2:InputDtype:float16,OutputDtype:float16"],
        "insert_op_conf": [{"aipp_mode": "static", "input_format": "RGB888_U8", "var_reci_chn_0": 0.5}],
    }
    assert set(values) == set(configs.FILES)
    for name, value in values.items():
        text = configs.write(name, value, name)
        assert [one for one in configs.check(name, text) if one.level == "error"] == []
    assert json.loads(configs.write("modify_mixlist", values["modify_mixlist"], "x")) == values["modify_mixlist"]
