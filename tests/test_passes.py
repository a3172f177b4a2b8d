"""Every pass that ships: it loads, its cases hold and need each of its conditions, and its text form round-trips."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import stale_rows

from graphtool.cases import model_of, run_case, undertested
from graphtool.data import data_dir
from graphtool.errors import PassError, UsageError
from graphtool.rewrite import Catalog, Pass, Stage, apply_stage, parse_pipeline
from graphtool.rewrite.params import resolve

CATALOG = Catalog()
NAMES = CATALOG.names
CASES = [(name, number) for name in NAMES for number in range(len(CATALOG.get(name).cases))]
# renaming and removing ask for names that are not there a second time; a model can be appended twice
ONCE = {"rename", "remove_node", "concat_models"}


def stage_of(spec: Pass, params: dict[str, object]) -> Stage:
    return Stage(spec, resolve(spec.params, params, spec.name), spec.name)


def test_the_passes_of_the_issue_are_there() -> None:
    wanted = (
        "adaptive_pool_exact adaptive_pool_to_ascend adaptive_pool_to_avg_pool clip_topk_inputs fuse_conv_bn fuse_gelu "
        "fuse_transposes input_cast inputs_int32 onnxsim optimize output_cast output_fp16 prune_outputs "
        "remove_identity rename resize_linear_to_matmul resize_nearest"
    )
    assert set(wanted.split()) <= set(NAMES)
    assert len(NAMES) == len(list(data_dir("passes").glob("*.toml")))


@pytest.mark.parametrize("name,number", CASES, ids=[f"{n}-{CATALOG.get(n).cases[k].name}" for n, k in CASES])
def test_case(name: str, number: int) -> None:
    spec = CATALOG.get(name)
    assert run_case(spec, spec.cases[number], CATALOG).fault == ""


@pytest.mark.parametrize("name", NAMES)
def test_no_condition_is_undertested(name: str) -> None:
    assert list(undertested(CATALOG, name)) == []


# a narrower type, or what a person asks for, is what they are for
NO_EXACT_FORM = frozenset(
    "clamp_float16_constants double_to_float float16_model insert_node remove_node replace_node set_attribute "
    "set_constant".split()
)


@pytest.mark.parametrize("name", NAMES)
def test_a_pass_says_what_it_is(name: str) -> None:
    spec = CATALOG.get(name)
    assert any(case.after is None for case in spec.cases), "a negative case"
    assert any(case.after is not None for case in spec.cases), "a positive case"
    assert len({case.name for case in spec.cases}) == len(spec.cases)
    assert len(spec.summary) > 10 and not spec.summary.endswith(".")
    assert len(spec.why) > 20 and spec.why.endswith((".", "!"))
    for param in spec.params:
        assert len(param.help) > 10
    if spec.exact_form is not None:
        assert CATALOG.get(spec.exact_form).parity in ("exact", "close")
    if spec.parity == "lossy":
        there = spec.exact_form is not None
        assert there != (name in NO_EXACT_FORM), "a lossy pass names its exact counterpart, where there is one"
    for item in spec.semantics:
        assert CATALOG.semantics()[item.op, item.domain] is item, "one meaning an op"


@pytest.mark.parametrize("name", NAMES)
def test_a_pass_is_a_fixed_point_after_itself(name: str) -> None:
    spec = CATALOG.get(name)
    for case in (case for case in spec.cases if not case.stored):
        graph = model_of(case.before, case.opset)
        stage = stage_of(spec, case.params)
        apply_stage(graph, stage, CATALOG)
        assert stale_rows(graph) == [], case.name
        once = graph.full_proto().SerializeToString(deterministic=True)
        if name not in ONCE:
            again = apply_stage(graph, stage, CATALOG)
            assert again.applied.matches == [], case.name
        assert graph.full_proto().SerializeToString(deterministic=True) == once, case.name


@pytest.mark.parametrize("name", NAMES)
def test_no_match_leaves_every_byte(name: str) -> None:
    spec = CATALOG.get(name)
    for case in (case for case in spec.cases if case.after is None):
        graph = model_of(case.before, case.opset)
        before = graph.full_proto().SerializeToString(deterministic=True)
        outcome = apply_stage(graph, stage_of(spec, case.params), CATALOG)
        assert outcome.applied.matches == [] and outcome.inner == []
        assert graph.full_proto().SerializeToString(deterministic=True) == before, case.name


@pytest.mark.parametrize("name", NAMES)
def test_every_key_of_the_file_is_used(name: str) -> None:
    """A key that the reader knows but drops would be a promise that nobody keeps."""
    table = tomllib.loads((data_dir("passes") / f"{name}.toml").read_text())
    spec = CATALOG.get(name)
    assert len(spec.bodies) == sum(len(table.get(kind, [])) for kind in ("edit", "rewrite", "region", "boundary"))
    assert len(spec.cases) == len(table["case"])
    assert {param.name for param in spec.params} == set(table.get("params", {}))
    declared = table.get("interface", [])
    assert {declared} if isinstance(declared, str) else set(declared) <= spec.interface
    assert spec.fixpoint == table.get("fixpoint", False) and list(spec.sequence) == table.get("sequence", [])
    assert len(spec.semantics) == len(table.get("semantics", []))


# -- the text form of a stage

AWKWARD = st.one_of(
    st.text(alphabet=r"a:b,c=d+e\f ", max_size=12),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
VALUES = {
    "string": AWKWARD,
    "names": st.lists(AWKWARD.filter(bool), max_size=4),
    "ints": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False),
    "bool": st.booleans(),
}
EVERY_TYPE = """
summary = "s"
why = "w"
parity = "exact"
native = "remove_unused"
params.text = { type = "string", default = "", help = "h" }
params.whole = { type = "int", default = 0, help = "h" }
params.real = { type = "float", default = 0, help = "h" }
params.flag = { type = "bool", default = false, help = "h" }
params.words = { type = "names", default = [], help = "h" }
params.numbers = { type = "ints", default = [], help = "h" }
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The shipped passes and one with a parameter of each type."""
    folder = tmp_path_factory.mktemp("passes")
    (folder / "every_type.toml").write_text(EVERY_TYPE)
    return Catalog([data_dir("passes"), folder])


def stage_given(draw: st.DrawFn, catalog: Catalog) -> Stage:
    with_params = ["every_type", *(name for name in NAMES if CATALOG.get(name).params)]
    spec = catalog.get(draw(st.sampled_from(with_params)))
    given_params: dict[str, object] = {}
    for param in spec.params:
        if draw(st.booleans()):
            given_params[param.name] = draw(st.sampled_from(param.choices) if param.choices else VALUES[param.type])
    # a list reaches a pass as it is, text by its type: names are given as lists
    resolved = resolve(spec.params, given_params, spec.name)
    return Stage(spec, resolved, spec.name, tuple(p.name for p in spec.params if p.name in given_params))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_text_of_a_pipeline_round_trips(catalog: Catalog, data: st.DataObject) -> None:
    pipeline = [stage_given(data.draw, catalog) for _ in range(data.draw(st.integers(1, 3)))]
    text = ",".join(stage.text() for stage in pipeline)
    assert parse_pipeline(text, catalog) == pipeline


def test_values_are_read_by_type(catalog: Catalog) -> None:
    stage = parse_pipeline(r"every_type:real=1e\+16:flag=TRUE:whole=-3:numbers=1+-2:text=a\=b:words=", catalog)[0]
    wanted = {"real": 1e16, "flag": True, "whole": -3, "numbers": [1, -2], "text": "a=b", "words": []}
    assert stage.params == wanted


def test_the_text_of_a_pass_by_path_round_trips(tmp_path: Path) -> None:
    folder = tmp_path / "my passes, a:b=c+d"
    folder.mkdir()
    path = folder / "keep.toml"
    path.write_text((data_dir("passes") / "prune_outputs.toml").read_text())
    by_path = Stage(CATALOG.get(str(path)), {"keep": ["y"]}, str(path), ("keep",))
    assert parse_pipeline(by_path.text(), CATALOG) == [by_path]


def test_an_awkward_default_stays_the_default() -> None:
    stage = parse_pipeline("prune_outputs", CATALOG)[0]
    assert stage.text() == "prune_outputs" and stage.params == {"keep": []} and stage.given == ()


def test_values_come_from_set_then_text_then_profile_then_default() -> None:
    def mode(text: str, given: dict[str, object] | None = None, profile: dict[str, object] | None = None) -> object:
        stage = parse_pipeline(text, CATALOG, {"resize_nearest": given} if given else None,
                               {"resize_nearest": profile} if profile else None)[0]  # fmt: skip
        return stage.params["nearest_mode"]

    assert mode("resize_nearest") == "floor"
    assert mode("resize_nearest", profile={"nearest_mode": "ceil"}) == "ceil"
    text = "resize_nearest:nearest_mode=round_prefer_ceil"
    assert mode(text, profile={"nearest_mode": "ceil"}) == "round_prefer_ceil"
    assert mode(text, {"nearest_mode": "round_prefer_floor"}, {"nearest_mode": "ceil"}) == "round_prefer_floor"


def test_text_values_by_type() -> None:
    stages = parse_pipeline(r" resize_nearest:smallest=64:names=/ppm/\,* , prune_outputs:keep=a+b\+c+x\:0 ", CATALOG)
    assert stages[0].params["smallest"] == 64 and stages[0].params["names"] == "/ppm/,*"
    assert stages[1].params["keep"] == ["a", "b+c", "x:0"]


@pytest.mark.parametrize(
    "text,reason",
    [
        ("", "no pass is named; give --passes NAME,NAME  (graphtool passes list)"),
        (" , ", "no pass is named; give --passes NAME,NAME  (graphtool passes list)"),
        ("optimize,,rename", "an empty pass name in 'optimize,,rename'"),
        (":keep=y", "an empty pass name in ':keep=y'"),
        (
            "resize_nearset",
            "unknown pass 'resize_nearset'; did you mean 'resize_nearest'?  (graphtool passes list)",
        ),
        ("qqq", "unknown pass 'qqq'  (graphtool passes list)"),
        ("nowhere.toml", "no pass file 'nowhere.toml'"),
        ("prune_outputs:keep", "'keep' in 'prune_outputs:keep' is not PARAM=VALUE"),
        ("prune_outputs:kep=y", "prune_outputs has no parameter 'kep'; did you mean 'keep'?"),
        ("prune_outputs:zzz=y", "prune_outputs has no parameter 'zzz'; it takes keep"),
        ("remove_identity:a=1", "remove_identity has no parameter 'a'; it takes none"),
        ("resize_nearest:smallest=many", "resize_nearest.smallest: 'many' is not a whole number"),
        (
            "resize_nearest:nearest_mode=down",
            "resize_nearest.nearest_mode: 'down' is not one of floor, ceil, round_prefer_floor, round_prefer_ceil",
        ),
    ],
)
def test_a_bad_pipeline_text_says_why(text: str, reason: str) -> None:
    with pytest.raises((PassError, UsageError)) as error:
        parse_pipeline(text, CATALOG)
    assert str(error.value) == reason


def test_set_for_a_pass_that_is_not_in_the_pipeline() -> None:
    with pytest.raises(UsageError) as error:
        parse_pipeline("optimize", CATALOG, {"optimise": {"a": "1"}})
    assert str(error.value) == "--set optimise.…: pass 'optimise' is not in the pipeline; did you mean 'optimize'?"
