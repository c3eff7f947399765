"""What the configurations of all families have in common: shares, and names that tell another number of groups."""

from dataclasses import fields, replace

import pytest

from helpers.checks import refusal
from zoo import registry
from zoo.checks import check_share, grouped_name, regrouped, ungrouped_name

FIRST = {family: next(iter(registry.family(family).VARIANTS.values())) for family in registry.FAMILIES}
DROPPING = [family for family, config in FIRST.items() if "drop_path" in {field.name for field in fields(config)}]


@pytest.mark.parametrize("family", DROPPING)
def test_stochastic_depth_is_a_share(family):
    assert replace(FIRST[family], drop_path=0.99).drop_path == 0.99
    for rate in (1.0, -0.1, 20, float("nan")):
        sentence = refusal(lambda rate=rate: replace(FIRST[family], drop_path=rate))
        assert sentence.startswith(f"drop_path={rate!r} is not allowed for ")
        assert sentence.endswith(": it is a share, from 0 up to but not 1.")


def test_which_families_have_stochastic_depth():
    """All whose blocks have shortcuts, but for those whose reference lacks it."""
    without = {"shufflenet_v1", "shufflenet_v2", "mobilenet_v1", "ghostnet", "dpn", "lcnet", "alexnet", "igcv3"}
    assert set(registry.FAMILIES) - set(DROPPING) == {*without, "condensenet", "resnext_cifar"}


def test_a_share_is_at_least_0_and_below_1():
    for share in (0, 0.0, 0.5, 0.999):
        check_share("dropout", share, "a network")
    assert refusal(lambda: check_share("dropout", 1, "a network")) == (
        "dropout=1 is not allowed for a network: it is a share, from 0 up to but not 1."
    )


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_a_name_with_other_groups_is_never_that_of_a_published_network(family):
    """A network that has the name of a published one is that one; the published groups bring its name back."""
    published, renamed = registry.variants(), 0
    for name, config in registry.family(family).VARIANTS.items():
        for groups in (1, 2, 3, 4, 8, 16, 32):
            try:
                other = config.with_groups(groups)
            except ValueError:
                continue  # not a number of groups that this network can have
            assert other.groups == groups
            assert other == published.get(other.name, other), f"{other.name} is {name} with groups={groups}"
            renamed += other.name != name
            if config.groups is not None:
                assert other.with_groups(config.groups).groups == config.groups
    assert renamed


def test_the_suffix_of_a_name_tells_the_groups():
    assert grouped_name("mobilenetv1_025", None) == "mobilenetv1_025"
    assert grouped_name("mobilenetv1_025", 8) == "mobilenetv1_025_g8"
    assert ungrouped_name("mobilenetv1_025_g8") == ungrouped_name("mobilenetv1_025") == "mobilenetv1_025"
    assert grouped_name("alexnet", 2, published=2) == "alexnet"
    dpn = registry.variant("dpn68")
    assert dpn.with_groups(4).with_groups(8).name == "dpn68_g8" and dpn.with_groups(4).with_groups(32) == dpn
    assert replace(dpn, name="mine").with_groups(4).name == "mine_g4"
    assert regrouped("mine_g4", 2, {}) == "mine_g2"


@pytest.mark.parametrize(("name", "groups"), [
    ("resnext50_32x4d", 16), ("resnext50_32x4d", 1), ("seresnext50_32x4d", 8), ("seresnext50_32x4d", 1),
    ("resnest14d", 2), ("res2next50", 4), ("res2net101_26w_4s", 8), ("skresnext50_32x4d", 8),
    ("resnext29_32x4d_cifar10", 8), ("repvgg_b1g4", 2), ("repvgg_b1g4", 1), ("dpn68", 16), ("mobilenetv1_025", 8),
])  # fmt: skip
def test_a_network_is_known_by_its_name_whatever_its_groups(name, groups):
    config = registry.variant(name).with_groups(groups)
    assert registry.named(config.name) == config
    assert registry.named(name) == registry.variant(name) and registry.named(f"my_{config.name}") is None
