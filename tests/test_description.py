"""What families say of themselves: data that `zoo info` prints, not comments or docstrings that it parses."""

import dataclasses
import re
import subprocess
import sys

import pytest

import zoo
from zoo.information import grouping, literature
from zoo.models.description import Citation, meaning, meanings, setting
from zoo.registry import FAMILIES, config_class, family


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_says_where_it_is_published_and_what_its_settings_mean(name):
    summary, paper = literature(family(name))
    assert re.fullmatch(r"[^\n]+\.", summary) and all(str(each) in paper for each in family(name).PAPERS)
    for each in family(name).PAPERS:
        assert isinstance(each, Citation) and 2012 <= each.year <= 2026
        # An arXiv identifier begins with the year and month of the first version, a year before print at the earliest.
        assert name == "alexnet" or re.fullmatch(r"\d{4}\.\d{5}", each.arxiv)
        assert not each.arxiv or each.year - 2001 <= int(each.arxiv[:2]) <= each.year - 2000
    settings = meanings(config_class(name))
    assert list(settings) == [field.name for field in dataclasses.fields(config_class(name))]
    assert all(settings.values()) and grouping(config_class(name)) == settings["groups"]


def test_a_citation_is_a_sentence():
    assert str(Citation("Chollet", 2017, "Xception", arxiv="1610.02357")) == "Chollet 2017, Xception, arXiv:1610.02357."
    whole = Citation("Hu et al.", 2018, "SENet", "section 3", "1709.01507", subject="SE-ResNeXt", remark="With r = 16.")
    assert str(whole) == "SE-ResNeXt: Hu et al. 2018, SENet, section 3, arXiv:1709.01507. With r = 16."


def test_a_setting_is_an_ordinary_field():
    @dataclasses.dataclass(frozen=True)
    class Network:
        d: int = dataclasses.field(metadata=meaning("depth"))
        groups: int = setting(32, "cardinality")

    assert (Network(3).groups, Network(3, 4).groups, Network.groups) == (32, 4, 32)
    assert meanings(Network) == {"d": "depth", "groups": "cardinality"}
    with pytest.raises(TypeError, match="d"):
        Network()


@pytest.mark.parametrize("name", ["resnext50_32x4d", "regnet"])
def test_info_needs_no_docstrings(name):
    """`python -OO` removes them."""

    def page(*options):
        command = [sys.executable, *options, "-m", "zoo", "info", name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert page("-OO") == page() and "arXiv:" in page()


def test_the_page_of_a_network_cites_every_paper():
    assert re.findall(r"arXiv:([\d.]+\d)", zoo.info("resnext50_32x4d").paper) == [
        *("1611.05431", "1512.03385", "1709.01507", "1812.01187")
    ]
