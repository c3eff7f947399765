"""`zoo list`, `zoo info` and the mistakes that a stranger makes with them."""

import csv
import io
import json

import pytest

import zoo
from zoo.__main__ import run
from zoo.commands import COMMANDS
from zoo.commands.output import short
from zoo.costs import costs
from zoo.registry import FAMILIES, family
from zoo.weights.published import resolve, tags

TAG = "timm/resnext50_32x4d.a1h_in1k"


def run_zoo(capsys, *arguments: str) -> str:
    """Standard output of a command that ends well."""
    code = run(list(arguments))
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def run_refused(capsys, *arguments: str) -> tuple[int, str]:
    """The exit code and the one line of a command that can't be done."""
    code = run(list(arguments))
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return code, err.rstrip("\n")


def test_every_network_is_listed(capsys):
    lines = run_zoo(capsys, "list").splitlines()
    assert [line.split()[0] for line in lines[1:-2]] == zoo.list_models()
    assert lines[0].split() == ["network", "family", "param.", "MACs", "px", "groups", "tags", "top-1"]
    (row,) = (line.split() for line in lines if line.startswith("resnext50_32x4d "))
    assert row == ["resnext50_32x4d", "resnext", "25.0", "M", "4.23", "G", "224", "32", "12", "82.17"]
    assert "\x1b" not in "".join(lines), "no colours where it is no terminal"
    assert lines[-1].startswith("236 networks. param.: trainable parameters.")


def test_json_and_csv_have_the_raw_numbers(capsys):
    rows = json.loads(run_zoo(capsys, "list", "--json"))
    assert [row["name"] for row in rows] == zoo.list_models()
    regnet = next(row for row in rows if row["name"] == "regnety_002")
    assert regnet == {
        "name": "regnety_002", "family": "regnet", "parameters": 3162996, "macs": 199514080, "activations": 2167052,
        "size": 224, "groups": None, "group_width": 8, "weights": 1, "top1": 70.278,
    }  # fmt: skip
    text = run_zoo(capsys, "list", "--csv")
    assert text.count("\r\n") == text.count("\n") == len(rows) + 1
    table = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(table[0]) == list(rows[0])
    assert table == [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]


@pytest.mark.parametrize("order, key", [
    ("name", lambda row: row["name"]),
    ("parameters", lambda row: row["parameters"]),
    ("macs", lambda row: row["macs"]),
    ("top1", lambda row: -(row["top1"] or 0)),
])  # fmt: skip
def test_the_order(order, key, capsys):
    rows = json.loads(run_zoo(capsys, "list", "--sort", order, "--json"))
    assert len(rows) == len(zoo.list_models()) and rows == sorted(rows, key=key)


def test_patterns_and_families(capsys):
    def names(*arguments):
        return [row["name"] for row in json.loads(run_zoo(capsys, "list", *arguments, "--json"))]

    assert names("shufflenet_g?_wd2") == zoo.list_models("shufflenet_g?_wd2")
    assert names("--family", "dpn") == sorted(family("dpn").VARIANTS)
    assert names("*b3*", "--family", "repvgg") == ["repvgg_b3", "repvgg_b3g4"]


WRONG = [
    ("list resnext", 1, "No network is called 'resnext': '*resnext*' matches 38, as resnext101_32x16d."),
    ("list ResNet26", 1, "No network is called 'ResNet26': did you mean resnet26?"),
    ("list rexnet", 1, "No network matches 'rexnet': did you mean alexnet, resnet50, resnet26?"),
    ("list regnet --family dpn", 1, "No network of the family dpn is called 'regnet', which is a family: zoo list "),
    ("list zzz", 1, "No network matches 'zzz': * matches all of them."),
    ("list --family resnxt", 2, "Invalid value for '--family': there is no family 'resnxt': did you mean resnext, "),
    ("list --sort top", 2, "Invalid value for '--sort': there is no order 'top': did you mean top1?"),
    ("list --sort", 2, "Option '--sort' requires an argument."),
    ("list --jsn", 2, "There is no option --jsn: did you mean --json, "),
    ("list --json --csv", 2, "--json and --csv exclude each other: give one of them."),
    ("list a b", 2, "Got unexpected extra argument (b)"),
    ("lst", 2, "There is no command 'lst': did you mean list?"),
    ("--verson", 2, "There is no option --verson: did you mean --version"),
    ("info", 2, "Missing argument 'NAME'. `zoo info --help` shows the usage."),
    ("info resnext50_32x4", 1, "There is no network, family or tag of weights 'resnext50_32x4': did you mean resnext"),
    ("info mobilenetv2", 1, "There is no network, family or tag of weights 'mobilenetv2': did you mean mobilenet_v2"),
    ("info timm/resnext50_32x4d.a1h", 1, "There are no published weights 'timm/resnext50_32x4d.a1h': did you mean "),
    ("info resnext50_32x4d.a1h_in1k", 1, f"There are no published weights '{TAG[5:]}': did you mean {TAG}?"),
    ("info ../../etc/passwd", 1, "There is no network, family or tag of weights '../../etc/passwd': "),
    ("info zzzz", 1, "There is no network, family or tag of weights 'zzzz': `zoo list` shows the networks, "),
    ("completion", 2, "Missing argument 'SHELL'. Known are bash, fish, zsh. `zoo completion --help` shows the usage."),
    ("completion ksh", 2, "Invalid value for 'SHELL': there is no shell 'ksh': did you mean zsh, fish, bash?"),
]


@pytest.mark.parametrize("arguments, code, sentence", WRONG, ids=[arguments for arguments, _, _ in WRONG])
def test_a_mistake_costs_one_sentence(arguments, code, sentence, capsys):
    status, line = run_refused(capsys, *arguments.split())
    assert (status, line[: len(sentence)]) == (code, sentence)


def test_the_page_of_a_network(capsys):
    page = run_zoo(capsys, "info", "resnext50_32x4d")
    assert "resnext50_32x4d, of the family resnext" in page and "arXiv:1611.05431" in page
    assert "25,028,904" in page and "4,230,479,872 (an image of 224 x 224 pixels)" in page
    assert "32 (cardinality, C in the paper; groups=N gives this network with another cardinality" in page
    assert "1 to 269" in page
    for tag in tags("resnext50_32x4d"):
        assert tag in page, "all of them, with licence and accuracy"
    assert "82.01  288     1000  apache-2.0" in page
    assert "No weights are published for it." in run_zoo(capsys, "info", "mobilenetv1_025")
    assert "1, 2, 4, 8, 16, beside depthwise" in run_zoo(capsys, "info", "mobilenetv2_100")
    assert "groups of 8 channels (of every 3x3 convolution" in run_zoo(capsys, "info", "regnety_002")


def test_info_as_json_and_csv(capsys):
    info = json.loads(run_zoo(capsys, "info", "resnext50_32x4d", "--json"))
    expected = costs("resnext50_32x4d")
    assert (info["parameters"], info["macs"]) == (expected.parameters, expected.macs)
    assert info["activations"] == expected.activations and info["groups_allowed"] == list(range(1, 270))
    assert info["settings"]["width_per_group"] == 4 and info["groups"] == 32
    assert [each["tag"] for each in info["weights"]] == tags("resnext50_32x4d")
    assert info["weights"][1]["top1"] == resolve(tags("resnext50_32x4d")[1]).top1
    (row,) = csv.DictReader(io.StringIO(run_zoo(capsys, "info", "resnext50_32x4d", "--csv"), newline=""))
    assert row["parameters"] == "25028904" and row["weights"].split() == tags("resnext50_32x4d")
    assert list(row) == list(info)


def test_info_of_weights(capsys):
    page = run_zoo(capsys, "info", TAG)
    assert "top-1 82.01 % at 288 pixels, 1000 classes" in page and "licence: apache-2.0" in page
    info = json.loads(run_zoo(capsys, "info", TAG, "--json"))
    assert info["name"] == "resnext50_32x4d" and [each["tag"] for each in info["weights"]] == [TAG]
    (row,) = csv.DictReader(io.StringIO(run_zoo(capsys, "info", TAG, "--csv"), newline=""))
    assert (row["tag"], row["model"], row["top1"]) == (TAG, "resnext50_32x4d", "82.014")


@pytest.mark.parametrize("name", [each for each in FAMILIES if each not in zoo.list_models()])
def test_info_of_a_family(name, capsys):
    page = run_zoo(capsys, "info", name)
    info = json.loads(run_zoo(capsys, "info", name, "--json"))
    assert [row["name"] for row in info["networks"]] == sorted(family(name).VARIANTS)
    for row in info["networks"]:
        assert row["name"] in page and row["family"] == name
    rows = list(csv.DictReader(io.StringIO(run_zoo(capsys, "info", name, "--csv"), newline="")))
    assert [row["name"] for row in rows] == [row["name"] for row in info["networks"]]


def test_help_names_every_command(capsys):
    page = run_zoo(capsys, "--help")
    assert page.startswith("Usage: zoo [OPTIONS] COMMAND")
    for name in COMMANDS:
        assert f"\n  {name} " in page
        assert run_zoo(capsys, name, "--help").startswith(f"Usage: zoo {name} [OPTIONS]")
    assert run([]) == 2 and "Usage: zoo" in capsys.readouterr().err
    assert run_zoo(capsys, "--version").startswith("zoo ")


def test_counts_in_three_digits():
    counts = {0: "0", 999: "999", 1000: "1.00 k", 999_499: "999 k", 999_500: "1.00 M", 25_028_904: "25.0 M"}
    assert {count: short(count) for count in counts} == counts
    assert short(4_230_479_872) == "4.23 G" and short(9_995) == "10.0 k" and short(99_950) == "100 k"
