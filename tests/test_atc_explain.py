"""Commands that exist: read as a shell reads them and as people write them, explained, turned into profiles."""

from __future__ import annotations

import contextlib
import json
import random
import shlex
from pathlib import Path

import pytest
from clirun import NET, Cli

from graphtool.atc import load_profile
from graphtool.atc.explain import Explained, explain
from graphtool.atc.shellread import commands
from graphtool.errors import UsageError

REAL = Path(__file__).resolve().parents[2] / "shared/ascend/atc_commands.jsonl"
GUIDE = Path(__file__).resolve().parents[2] / "shared/ascend/guide.zh.md"
PLAIN = 'atc --framework=5 --model=a.onnx --output=a_bs1 --input_shape="x:1,3,8,8" --soc_version=Ascend310'


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path)


def one(text: str) -> Explained:
    (found,) = explain(text)
    return found


def said(text: str) -> list[str]:
    return [found.text() for found in one(text).findings]


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace(" --", " \\\n    --"),
        PLAIN.replace(" --", " \\\r\n\t--") + "\r\n",
        "\ufeff" + PLAIN,
        f"$ {PLAIN} > log.txt 2>&1 &",
        f"cd x && {PLAIN} | tee log",
        f"if {PLAIN}; then\n  echo\nfi",
        f"for b in 1; do {PLAIN}; done",
        f"1. {PLAIN}  # comment",
        f"```bash\nsource env.sh\n{PLAIN}\n```\nprose that isn't \"code",
        f"run `{PLAIN}` now",
        f"os.system('{PLAIN}')",
        'os.system("' + PLAIN.replace('"', '\\"') + '")',
        PLAIN.replace("atc ", "/usr/local/Ascend/atc/bin/atc "),
        PLAIN.replace("atc ", "time atc "),
        PLAIN.replace("=", " ").replace('" ', '" '),
        PLAIN.replace("--input_shape", "--input-shape").replace("--model", "-model"),
        PLAIN.replace('"', "'"),
        PLAIN.replace('"', ""),
        f"# {PLAIN}\n{PLAIN}",
        f"docker exec -it box {PLAIN}",
        f"RUN {PLAIN}",
        f"命令：{PLAIN}",
        str(["atc", *shlex.split(PLAIN)[1:]]),
        f"x = 1\nsubprocess.run({json.dumps(['atc', *shlex.split(PLAIN)[1:]], indent=1)}, check=True)",
    ],
)  # fmt: skip
def test_forms_that_are_read(text: str) -> None:
    found = one(text)
    assert found.options == {
        "framework": "5",
        "model": "a.onnx",
        "output": "a_bs1",
        "input_shape": "x:1,3,8,8",
        "soc_version": "Ascend310",
    }
    assert found.findings == []


def test_several_commands_and_their_lines() -> None:
    text = f"#!/bin/bash\nbs=1\n{PLAIN}\n\n{PLAIN} \\\n  --log=debug\natc --help\n"
    assert [(read.line, len(read.words)) for read in commands(text)] == [(3, 5), (5, 6), (7, 1)]
    for none in ("", "the atc tool\nsource atc\n", "matc --model=a", "watch --atc -x", "import atc"):
        with pytest.raises(UsageError, match="no atc command found"):
            explain(none)
    with pytest.raises(UsageError, match="those in comments do not count"):
        explain(f"# {PLAIN}")


@pytest.mark.parametrize(
    "value",
    [
        "$1",
        "${chip_name}",
        "Ascend${chip}",
        "Ascend{chip_name}",
        "$(npu-smi info | grep 310)",
        "`soc`",
        "<soc_version>",
    ],
)
def test_variables_are_kept_and_not_judged(value: str) -> None:
    found = one(PLAIN.replace("Ascend310", value).replace(":1,", ":${bs},").replace("bs1", "bs${bs}"))
    assert found.options["soc_version"] == value
    assert (found.options["input_shape"], found.options["output"]) == ("x:${bs},3,8,8", "a_bs${bs}")
    assert found.findings == []


def test_options_from_a_variable_are_not_missing() -> None:
    assert said('atc "${args[@]}" --output=a') == said("atc $OPTS") == []
    assert len(said("atc --output=a")) == 3


def test_commands_in_variables_and_arrays() -> None:
    words = PLAIN.removeprefix("atc ")
    assert one(f'"${{ATC_BIN}}" \\\n  {words}').findings == []
    assert one(f"$ATC {words}").options["model"] == "a.onnx"
    array = one("ATC_ARGS=(\n  --framework=5\n  # why\n  --model=a.onnx\n)\nx=(1 2)\n")
    assert array.options == {"framework": "5", "model": "a.onnx"} and array.findings == []  # more may be added
    for none in ('echo "$(${ATC_BIN} --version)"', "args=(\n --epochs=5\n)", "$ATC_HOME/bin/x --model=a"):
        with pytest.raises(UsageError, match="no atc command found"):
            explain(none)
    assert one(PLAIN.replace("a_bs1", '"$(dirname "${OUT}")/x"')).options["output"] == '$(dirname "${OUT}")/x'
    assert [len(part.given) for part in explain(f"{PLAIN} && {PLAIN}; {PLAIN} # {PLAIN}")] == [5, 5, 5]


def test_faults_of_the_shell_are_told() -> None:
    assert said(PLAIN.replace(" --soc", "\n  --soc")) == [
        "shell: a line ends without a backslash: the shell ends the command there; end the line with ' \\'"
    ]
    assert not one(PLAIN.replace(" --soc", "\n  --soc")).wrong
    assert said(PLAIN.replace('8"', "8")) == ["shell: a quote that is never closed; close it after the value"]
    assert said(PLAIN.replace('8"', '8"--log=debug')) == [
        "input_shape: no blank before '--log': it is part of the value; put a blank there"
    ]
    assert said(PLAIN.replace('"x:1,3,8,8"', "x:1,3;y:2")) == [
        "shell: ';' outside quotes: the shell ends the command there; put the value in double quotes"
    ]
    assert said(PLAIN.replace("=a.onnx", "= a.onnx")) == [
        "model: a blank after '=': the value is empty, and 'a.onnx' a word of its own (E10004); remove the blank"
    ]
    assert said(PLAIN.replace('"', "”")) == [
        "shell: curly quotes, which the shell takes as letters; write straight quotes"
    ]
    assert said(PLAIN.replace(" --soc", "\\\n--soc")) == [
        "shell: no blank before a backslash: the shell joins the words of both lines; put a blank there"
    ]
    assert "a comment between the lines" in said(PLAIN.replace(" --soc", " \\\n # x\n --soc"))[0]
    assert said(PLAIN.replace("Ascend310", "ascend310"))[0].endswith("(E10001); write Ascend310")
    assert said(PLAIN + " stray") == ["shell: 'stray' belongs to no option; remove it"]
    assert "given twice" in said(PLAIN + " --model=b.onnx")[0]
    first, second = explain(f"{PLAIN}atc {PLAIN[4:]}")
    assert "a second atc command on the same line" in first.findings[0].reason and second.findings == []


def test_violations_are_told_with_code_and_fix() -> None:
    assert said(PLAIN + " --op_select_implmode=high_preformance")[0].startswith(
        "op_select_implmode: 'high_preformance' is not one of high_performance, "
    )
    assert said(PLAIN + " --out_node='a:0'") == ["out_node: ATC has no such option; did you mean 'out_nodes'?"]
    assert said(PLAIN + " --device=0") == ["device: ATC has no such option; did you mean 'device_id'?"]
    assert said(PLAIN.replace("--framework=5 ", "")) == [
        "framework: missing, and ATC needs it (E10007); framework=5 is ONNX"
    ]
    # what a misspelt option was to say is not missing as well
    assert said(PLAIN.replace("soc_version", "soc_verson")) == [
        "soc_verson: ATC has no such option; did you mean 'soc_version'?"
    ]
    assert (
        said("atc --mode=1 --om=a.om --json=a.json")
        == said("atc --singleop=a --output=b --soc_version=Ascend310")
        == []
    )


@pytest.mark.skipif(not REAL.is_file(), reason="no real commands at hand")
def test_real_commands_are_read_and_static_ones_that_are_right_get_no_complaint() -> None:
    texts = [json.loads(line)["command"] for line in REAL.read_text().splitlines()]
    assert len(texts) == 609
    found = [part for text in texts for part in explain(text)]
    wrong = [part for part in found if part.wrong]
    warned = [part for part in found if part.findings and not part.wrong]
    assert (len(found), len(wrong)) == (610, 19)
    assert all(
        set("~[") & set(one) or "-1" in one or one[-1] == ";"
        for part in warned
        for one in [" ".join(part.options.values())]
    ), warned
    assert sum(len(part.given) for part in found) > 4600


@pytest.mark.skipif(not GUIDE.is_file(), reason="no guide at hand")
def test_the_guide(cli: Cli) -> None:
    plain, half = explain(GUIDE.read_text())
    assert plain.findings == half.findings == []
    assert half.options == {**plain.options, "model": "./ICNet.onnx", "output_type": "FP16"}
    assert cli("atc", "explain", str(GUIDE), "--to-profile", "g.toml").code == 0
    profile = load_profile("g.toml")
    assert (profile.batches, profile.model, profile.options["out_nodes"]) == ((1,), "ICNet", "Resize_317:0")


def test_nothing_makes_it_fall_over() -> None:
    rng = random.Random(0)
    pieces = [
        "atc ",
        "--model=",
        '"',
        "'",
        "\\",
        "\n",
        " ",
        ";",
        "$(",
        "`",
        "${",
        "}",
        "x:1,",
        "--",
        "-",
        "=",
        "｛",
        "#",
        "\r\n",
        "é",
        "[",
        "~",
        "\x00",
        "```",
        ")",
    ]
    assert one('os.system("atc --model=a"--b').options == {"model": "a"}  # a quote that closes before an option
    for turn in range(1500):
        text = (PLAIN, f'run("{PLAIN}")', f"a=(\n {PLAIN[4:]}\n)\n['atc', '--model=a']")[turn % 3]
        for _ in range(rng.randrange(1, 6)):
            place = rng.randrange(len(text) + 1)
            text = text[:place] + rng.choice(pieces) + text[place + rng.randrange(3) :]
        with contextlib.suppress(UsageError):
            assert all(part.text for part in explain(text))


# -- the command


def test_the_command(cli: Cli) -> None:
    cli.write("a.sh", PLAIN + " --log=eror\n" + PLAIN)
    ended = cli("atc", "explain", "a.sh")
    assert ended.code == 1
    assert (
        "error E10010: log: 'eror' is not one of debug, info, warning, error, null; did you mean 'error'?" in ended.out
    )
    assert "source: GE, v2.0.0, 2023-03" in ended.out and "2 commands: 1 fine, 1 with errors" in ended.out
    data = cli("atc", "explain", "a.sh", "--json", "--cann", "5.0.2").json()
    assert (data["schema"], data["ok"], data["cann"]) == ("graphtool/atc-explain/1", False, "5.0.2")
    assert data["commands"][0]["findings"][0]["code"] == "E10010" and data["commands"][1]["ok"]
    assert "No such file" in cli.refused("atc", "explain", "none.sh")
    cli.write("empty.sh", "")
    assert cli.refused("atc", "explain", "empty.sh") == "'empty.sh': no atc command found"
    assert "is not a CANN version" in cli.refused("atc", "explain", "a.sh", "--cann", "five")


def test_names_are_held_against_a_model(cli: Cli) -> None:
    model = cli.save("net.onnx", NET)
    cli.write(
        "a.sh",
        'atc --framework=5 --model=net.onnx --output=n --soc_version=Ascend310 --input_shape="y:1,3,8,16" '
        '--out_nodes="conv:0;u:0;up:1" --input_fp16_nodes=z',
    )
    found = cli("atc", "explain", "a.sh", "--model", model, "--json", "--cann", "5.0.2").json()["commands"][0][
        "findings"
    ]
    texts = [(one["option"], one["code"], one["reason"]) for one in found]
    assert ("input_shape", "E10016", "the model has no input 'y'") in texts
    assert ("input_fp16_nodes", "E10016", "the model has no input 'z'") in texts
    assert [code for option, code, _ in texts if option == "out_nodes"] == ["E10016", "E10001"]
    assert any(
        option == "model" and reason.startswith("opset 13; CANN 5.0.2 documents 11") for option, _, reason in texts
    )
    cli.write("b.sh", 'atc --framework=5 --model=net.onnx --output=n --soc_version=$1 --input_shape="x:${bs},3,8,16"')
    assert cli("atc", "explain", "b.sh", "--model", model).code == 0


def test_files_that_are_here_are_read(cli: Cli) -> None:
    cli.write("a.cfg", "aipp_op { aipp_mode: static }")
    cli.write("a.sh", f"{PLAIN} --insert_op_conf=a.cfg")
    ended = cli("atc", "explain", "a.sh")
    assert ended.code == 1 and "insert_op_conf: 'a.cfg': input_format: line 1: missing" in ended.out
    cli.write("a.cfg", "aipp_op { aipp_mode: static input_format: RGB888_U8 }")
    assert cli("atc", "explain", "a.sh").code == 0


def test_to_profile(cli: Cli) -> None:
    lines = [PLAIN.replace("bs1", f"bs{n}").replace(":1,", f":{n},") for n in (1, 4)]
    cli.write("a.sh", "\n".join([*lines, PLAIN + " --log=debug"]))
    cli.ok("atc", "explain", "a.sh", "--to-profile", "p.toml")
    profile = load_profile("p.toml")
    assert (profile.batches, profile.model, profile.soc) == ((1, 4), "a", "Ascend310")
    assert profile.options == {
        "framework": "5", "soc_version": "Ascend310", "output": "a_bs{batch}", "input_shape": "x:{batch},3,8,8"
    }  # fmt: skip
    assert "# not in here, line 3: " in Path("p.toml").read_text()
    assert "there is such a file already" in cli.refused("atc", "explain", "a.sh", "--to-profile", "p.toml")
    assert "a profile ends in .toml" in cli.refused("atc", "explain", "a.sh", "--to-profile", "p.txt")
    cli.write(
        "b.sh", lines[0].replace(":1,", ":${bs},").replace("bs1", "bs${bs}").replace("310", "${chip}") + " --log=eror"
    )
    cli("atc", "explain", "b.sh", "--to-profile", "q.toml")
    text = Path("q.toml").read_text()
    assert "# left out: soc_version = Ascend${chip}, which is not known before the script runs" in text
    assert "# left out: log = eror: 'eror' is not one of" in text and "batches" not in text.partition("[options]")[2]
    assert load_profile("q.toml").options["output"] == "a_bs{batch}"
    cli.write("c.sh", PLAIN.replace("=5", "=3"))
    assert "profiles are for ONNX" in cli("atc", "explain", "c.sh", "--to-profile", "r.toml").err


def test_what_graphtool_writes_is_read_back(cli: Cli) -> None:
    model = cli.save("net.onnx", NET)
    for name in ("a.sh", "Makefile", "a.json"):
        cli.ok("atc", "emit", model, "--atc", "out_nodes=up:0", "--atc", "output_type=up:0:FP16", "-o", name)
        data = cli("atc", "explain", name, "--json", "--model", model).json()
        (found,) = data["commands"]
        assert found["findings"] == [] and [given["name"] for given in found["options"]][:3] == [
            "framework", "model", "output"
        ]  # fmt: skip


def test_a_loop_gives_the_batches(cli: Cli) -> None:
    line = PLAIN.replace(":1,", ":${bs},").replace("bs1", "bs${bs}").replace("Ascend310", "Ascend${chip}")
    cli.write("a.sh", f'chip="310P3"\nout=$1\nfor bs in 1 4 8; do\n  {line}\ndone\n')
    out = cli.ok("atc", "explain", "a.sh", "--to-profile", "p.toml")
    assert "$bs is 1, 4, 8 in this script" in out and "$chip is 310P3 in this script" in out
    profile = load_profile("p.toml")
    assert (profile.batches, profile.soc) == ((1, 4, 8), "Ascend310P3")
    assert profile.options["output"] == "a_bs{batch}"
    assert one(f"x=$1\nx=2\n{PLAIN} --log=$x").variables == {}  # not literal everywhere
