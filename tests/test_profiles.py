"""Profiles: what ships loads, what is wrong says file, key and reason, and nothing but a ProfileError comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphtool.atc import Profile, default_profile, list_profiles, load_profile
from graphtool.data import data_dir
from graphtool.errors import ProfileError

ICNET = (data_dir("atc_profiles") / "icnet_ascend310.toml").read_text(encoding="utf-8")


def load(folder: Path, text: str, name: str = "mine") -> Profile:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return load_profile(path)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ProfileError) as caught:
        load(folder, text)
    message = str(caught.value)
    assert "\n" not in message
    head = f"{folder / 'mine.toml'}: "
    assert message.startswith(head)
    return message.removeprefix(head)


def test_every_shipped_profile_loads() -> None:
    assert {"ascend310", "icnet_ascend310"} <= set(list_profiles())
    for name in list_profiles():
        profile = load_profile(name)
        assert (profile.name, profile.source) == (name, f"atc_profiles/{name}.toml")
        assert profile.summary
        assert profile.options["framework"] == "5"
        assert profile.soc.startswith("Ascend")


def test_the_base_says_only_what_holds_for_any_model() -> None:
    base = load_profile("ascend310")
    assert base.options == {"framework": "5", "soc_version": "Ascend310", "log": "error"}
    assert (base.batches, base.cann, base.model, base.pipeline, base.passes, base.budgets) == (
        (),
        None,
        None,
        None,
        {},
        (),
    )


def test_icnet_is_the_guide() -> None:
    icnet = load_profile("icnet_ascend310")
    assert icnet.model == "ICNet"
    assert icnet.cann == "5.0.2.alpha003"
    assert icnet.batches == (1, 4)
    assert icnet.install_path == "/usr/local/Ascend/ascend-toolkit/latest"
    assert icnet.pipeline == "resize_nearest,prune_outputs"
    assert icnet.passes == {"prune_outputs": {"keep": ["Resize_317"]}}
    assert icnet.options == {
        "framework": "5",
        "soc_version": "Ascend310",
        "log": "debug",
        "input_shape": "actual_input_1:{batch},3,1024,2048",
        "input_format": "NCHW",
        "out_nodes": "Resize_317:0",
        "output_type": "FP16",
    }


def test_every_fact_in_a_shipped_profile_has_its_source_above_it() -> None:
    for name in list_profiles():
        text = (data_dir("atc_profiles") / f"{name}.toml").read_text(encoding="utf-8")
        assert any(f"ModelZoo, {year}" in text for year in ("2022-03", "2022-06", "2023-12")), name
        for block in text.split("\n\n")[1:]:
            body = [line for line in block.splitlines() if not line.startswith("[")]
            assert not body or body[0].startswith("#"), f"{name}: no comment above {body[0]}"


def test_default_profile_takes_another_chip() -> None:
    assert default_profile() == load_profile("ascend310")
    assert default_profile("Ascend310P3").options == {"framework": "5", "soc_version": "Ascend310P3", "log": "error"}
    with pytest.raises(ProfileError, match="soc_version: 'Ascent310' is not a chip such as Ascend310"):
        default_profile("Ascent310")


def test_unknown_name() -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile("icnet_ascend31")
    hint = "did you mean 'icnet_ascend310'?  (graphtool profiles list)"
    assert str(caught.value) == f"unknown profile 'icnet_ascend31'; {hint}"
    with pytest.raises(ProfileError, match=r"unknown profile '\.\./errors'"):
        load_profile("../errors")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"none\.toml: No such file or directory"):
        load_profile(tmp_path / "none.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ProfileError, match=r"folder\.toml: Is a directory"):
        load_profile(tmp_path / "folder.toml")
    with pytest.raises(ProfileError, match="null"):
        load_profile("a\0b.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optoins = 1", "optoins: unknown key; did you mean 'options'?"),
        ("summary = 1", "summary: 1 is not a line of text"),
        ("model = ''", "model: '' is not a line of text"),
        ('cann = "a\\u001b[31m"', r"cann: 'a\x1b[31m' is not a line of text"),
        ("batches = 4", "batches: 4 is not a list of batch sizes"),
        ("batches = []", "batches: [] is not a list of batch sizes"),
        ("batches = [1, 0]", "batches[1]: 0 is not a whole number above 0"),
        ("batches = [true]", "batches[0]: true is not a whole number above 0"),
        ("batches = [1, 1]", "batches[1]: 1 is there twice"),
        ("options = 1", "options: 1 is not a table"),
        ("[options]\nout_node = 'a:0'", "options.out_node: unknown ATC option 'out_node'; did you mean 'out_nodes'?"),
        ("[options]\noutput_type = 'FP8'", "options.output_type: 'FP8' is not one of FP32, FP16, UINT8, INT8"),
        ("[options]\noutput_type = 'a:0:FP8'", "options.output_type: 'FP8' is not one of FP32, FP16, UINT8, INT8"),
        ("[options]\noutput_type = 'a:FP16'", "options.output_type: 'a' is not NODE:INDEX (several are split by ';')"),
        ("[options]\nframework = 3", "options.framework: '3' is not 5"),
        ("[options]\nframework = 5.0", "options.framework: 5.0 is not text or a whole number"),
        ("[options]\nmodel = 'a.onnx'", "options.model: the model is named on the command line"),
        (
            "[options]\nsoc_version = 'Ascend'",
            "options.soc_version: 'Ascend' is not a chip such as Ascend310 or Ascend310P3",
        ),
        (
            "[options]\nlog = 'eror'",
            "options.log: 'eror' is not one of debug, info, warning, error, null; did you mean 'error'?",
        ),
        ("[options]\nout_nodes = 'a'", "options.out_nodes: 'a' is not NODE:INDEX (several are split by ';')"),
        ("[options]\nout_nodes = 'a:b:0'", "options.out_nodes: 'a:b:0' is not NODE:INDEX (several are split by ';')"),
        ("[options]\nout_nodes = 'a:0;a:0'", "options.out_nodes: 'a:0' is named twice"),
        (
            "[options]\ninput_shape = '1,3'",
            "options.input_shape: '1,3' is not NAME:DIM,DIM,... (several are split by ';')",
        ),
        ("[options]\ninput_shape = 'x:1;x:2'", "options.input_shape: input 'x' is named twice"),
        (
            "[options]\ninput_shape = 'x:1,0'",
            "options.input_shape: '0' in the shape of 'x' is not a size above 0, -1 or {batch}",
        ),
        ("[options]\nauto_tune_mode = 'RL,GB'", "options.auto_tune_mode: 'GB' is not one of RL, GA"),
        (
            "[options]\ndynamic_image_size = '1,2,3'",
            "options.dynamic_image_size: '1,2,3' is not HEIGHT,WIDTH;HEIGHT,WIDTH;...",
        ),
        ("[options]\nkeep_dtype = ' '", "options.keep_dtype: ' ' is not a file name"),
        (
            "[options]\nkeep_dtype = 'a\\nb'".replace("'", '"'),
            r"options.keep_dtype: 'a\nb' holds an unprintable character, which cannot stand on a command line",
        ),
        ("[options]\nout-nodes = 'a:0'\nout_nodes = 'b:0'", "options.out_nodes: out_nodes is there twice"),
        (
            "[options]\ndynamic_batch_size = '1,2'\ndynamic_dims = '1'",
            "options.dynamic_dims: does not go with dynamic_batch_size (ATC: E10009)"
            " [GE CheckDynamicInputParamValid, v2.0.0, 2023-03]",
        ),
        (
            "[options]\noptypelist_for_implmode = 'Gelu'",
            "options.optypelist_for_implmode: needs op_select_implmode (ATC: E10001)"
            " [GE CheckImplmodeParamValid, v2.0.0, 2023-03]",
        ),
        (
            "[options]\nmodify_mixlist = 'a.json'\nprecision_mode = 'force_fp32'",
            "options.modify_mixlist: needs precision_mode=allow_mix_precision (ATC: E10001) [GE, v2.0.0, 2023-03]",
        ),
        (
            "[options]\nprecision_mode = 'force_fp32'\nprecision_mode_v2 = 'fp16'",
            "options.precision_mode_v2: does not go with precision_mode (ATC: E10056)"
            " [GE 2025; DOC 6.2.RC2 atctool_000093]",
        ),
        (
            "[options]\ndynamic_dims = '1'\ninsert_op_conf = 'aipp.cfg'",
            "options.dynamic_dims: does not go with insert_op_conf (ATC: E10001, no AIPP with dynamic dims)"
            " [GE, v2.0.0, 2023-03: dynamic dims function does not support aipp]",
        ),
        (
            "[options]\nenable_compress_weight = true\ncompress_weight_conf = 'a.cfg'",
            "options.compress_weight_conf: does not go with enable_compress_weight=true (ATC: E10047)"
            " [GE, v2.0.0, 2023-03]",
        ),
        ("[passes]\npipeline = ['a']", "passes.pipeline: ['a'] is not a list of passes such as 'a,b:key=1'"),
        ("[passes]\nrename = 1", "passes.rename: 1 is not a table of parameters (PASS.PARAM = VALUE)"),
        ("[passes]\na.b.c = 1", "passes.a.b: takes text, a number, true, false, or a list of them"),
        ("[budgets]\nmean = []", "budgets.mean: unknown key; the keys here are min, max"),
        ("[budgets]\nmin = 1", "budgets.min: 1 is not a table"),
        ("[budgets]\nmin = [1]", "budgets.min: 1 is not METRIC=NUMBER"),
        ("extends = 'nothing_like_it'", "extends: unknown profile 'nothing_like_it'"),
        ("extends = 'ascend301'", "extends: unknown profile 'ascend301'; did you mean 'ascend310'?"),
        ("extends = '" + "x" * 300 + "'", f"extends: '{'x' * 119}…' is not the name of a profile"),
        ("extends = '/etc/x'", "extends: '/etc/x' is not the name of a profile"),
        ("batches = [0xffffffffffffffffffffff]", "holds a whole number of more than 64 bits"),
        ("a = " + "[" * 20000, "nested too deeply"),
        ("#" * (2 << 20), "larger than 1048576 bytes; not a profile"),
    ],
)
def test_refused_with_key_and_reason(tmp_path: Path, text: str, message: str) -> None:
    assert refused(tmp_path, text) == message


def test_budgets_are_read_as_on_the_command_line(tmp_path: Path) -> None:
    assert "unknown metric 'argmx'" in refused(tmp_path, "[budgets]\nmin = ['argmx=0.8']")
    assert "budgets.min: " in refused(tmp_path, "[budgets.min]\nargmax_agreement = nan")
    listed = load(tmp_path, "[budgets]\nmin = ['794:argmax_agreement=0.85']\nmax = ['max_abs=1e-3']")
    tables = load(tmp_path, "[budgets]\nmin = {'794:argmax_agreement' = 0.85}\nmax = {max_abs = 0.001}")
    assert listed.budgets == tables.budgets
    assert [b.text() for b in listed.budgets] == ["--min 794:argmax_agreement=0.85", "--max max_abs=0.001"]


def test_not_toml(tmp_path: Path) -> None:
    assert refused(tmp_path, "a = [").startswith("not TOML: ")
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProfileError, match="not TOML: 'utf-8' codec"):
        load_profile(tmp_path / "mine.toml")


def test_a_profile_adds_to_the_one_it_extends(tmp_path: Path) -> None:
    load(
        tmp_path,
        """
        extends = "icnet_ascend310"
        batches = [2]
        [options]
        log = "info"
        keep_dtype = "keep.cfg"
        [passes]
        prune_outputs.strict = true
        resize_nearest.mode = "floor"
        [budgets]
        min = ["cosine=0.9", "miou=0.5"]
        """,
        "middle",
    )
    top = load(
        tmp_path,
        """
        extends = "middle"
        [options]
        out_nodes = ""
        enable-small-channel = 1
        enable_single_stream = false
        [passes]
        pipeline = "optimize"
        [budgets]
        min = ["cosine=0.95"]
        """,
    )
    assert top.summary == ""
    assert (top.model, top.cann, top.batches, top.pipeline) == ("ICNet", "5.0.2.alpha003", (2,), "optimize")
    assert top.options == {
        "framework": "5",
        "soc_version": "Ascend310",
        "log": "info",
        "input_shape": "actual_input_1:{batch},3,1024,2048",
        "input_format": "NCHW",
        "output_type": "FP16",
        "keep_dtype": "keep.cfg",
        "enable_small_channel": "1",
        "enable_single_stream": "false",
    }
    assert top.passes == {
        "prune_outputs": {"keep": ["Resize_317"], "strict": True},
        "resize_nearest": {"mode": "floor"},
    }
    assert [b.text() for b in top.budgets] == ["--min cosine=0.95", "--min miou=0.5"]


def test_a_mistake_in_the_base_names_the_base(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text("batches = 1")
    with pytest.raises(ProfileError) as caught:
        load(tmp_path, "extends = 'base'")
    assert str(caught.value) == f"{tmp_path / 'base.toml'}: batches: 1 is not a list of batch sizes"


def test_options_that_clash_only_with_the_base(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text("[options]\nprecision_mode = 'force_fp32'")
    message = refused(tmp_path, "extends = 'base'\n[options]\nprecision_mode_v2 = 'fp16'")
    assert (
        message == "options.precision_mode_v2: does not go with precision_mode (ATC: E10056)"
        " [GE 2025; DOC 6.2.RC2 atctool_000093]"
    )


def test_circles(tmp_path: Path) -> None:
    assert refused(tmp_path, "extends = 'mine'") == "extends: profiles extend each other in a circle: mine -> mine"
    (tmp_path / "a.toml").write_text("extends = 'b'")
    (tmp_path / "b.toml").write_text("extends = 'a'")
    with pytest.raises(ProfileError, match="circle: a -> b -> a"):
        load_profile(tmp_path / "a.toml")


def test_a_file_may_have_the_name_of_the_shipped_one_it_extends(tmp_path: Path) -> None:
    mine = load(tmp_path, "extends = 'ascend310'\n[options]\nlog = 'info'", "ascend310")
    assert mine.options == {"framework": "5", "soc_version": "Ascend310", "log": "info"}
    assert mine.source == str(tmp_path / "ascend310.toml")


MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, len(ICNET)),
        st.integers(0, 12),
        st.one_of(
            st.text(max_size=4),
            st.sampled_from(
                ["=", "[", "]", "{", '"', "\n", "true", "0x" + "f" * 4000, "1e999", "1979-05-27", '""', "[[a]]"]
            ),
        ),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutations=MUTATIONS)
def test_a_broken_profile_is_a_profile_error_and_nothing_else(
    tmp_path: Path, mutations: list[tuple[int, int, str]]
) -> None:
    text = ICNET
    for start, length, put in mutations:
        text = text[:start] + put + text[start + length :]
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        profile = load_profile(path)
    except ProfileError as why:
        assert str(why).isprintable()  # one line, nothing that could drive a terminal
    else:
        assert all(value.isprintable() for value in profile.options.values())
