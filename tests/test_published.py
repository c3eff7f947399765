"""`zoo.weights.published` and `zoo.info`: what is known of the published weights."""

import re

import pytest

import zoo
from helpers.processes import run_code
from zoo.information import info
from zoo.weights.published import resolve, tags


def test_every_tag_fits_a_network_of_the_zoo_and_is_complete():
    known = set(zoo.list_models())
    assert not {resolve(tag).model for tag in tags()} - known
    for each in map(resolve, tags()):
        assert each.address.startswith("https://") and each.tag.startswith(f"{each.source}/")
        assert each.interpolation in ("bilinear", "bicubic") and each.crop_mode in ("center", "squash", "border")
        assert 0 < each.crop <= 1 and 0 < (each.test_crop or 1) <= 1 and each.input_size >= 32
        assert len(each.mean) == len(each.std) == 3
        assert each.top1 is None or (30 < each.top1 < 100 and each.top1_size)
        if each.source == "torchvision":
            assert re.fullmatch("[0-9a-f]{8,10}", each.sha256_prefix) and each.sha256_prefix in each.file
        if each.source == "pytorchcv":
            assert re.fullmatch("[0-9a-f]{40}", each.sha1) and each.sha1[:8] in each.file


def test_known_facts():
    """From the libraries' own pages, so that a mistake in the script that wrote the data would be seen."""
    timm = resolve("timm/resnext50_32x4d.a1h_in1k")
    assert (timm.model, timm.input_size, timm.test_size, timm.crop, timm.test_crop) == (
        ("resnext50_32x4d", 224, 288, 0.95, 1.0)
    )
    assert (timm.interpolation, timm.licence, timm.top1, timm.top1_size) == ("bicubic", "apache-2.0", 82.014, 288)
    torchvision = resolve("torchvision/shufflenet_v2_x1_0.IMAGENET1K_V1")
    assert torchvision.address == "https://download.pytorch.org/models/shufflenetv2_x1-5666bf0f80.pth"
    assert (torchvision.sha256_prefix, torchvision.top1, torchvision.licence) == ("5666bf0f80", 69.362, None)
    pytorchcv = resolve("pytorchcv/shufflenet_g1_w1")
    assert (pytorchcv.top1, pytorchcv.top5, pytorchcv.file) == (65.07, 86.11, "shufflenet_g1_w1-1389-4cfb65a3.pth")


def test_the_best_weights_of_a_network_come_first():
    own = tags("resnext50_32x4d")
    assert len(own) >= 12 and "torchvision/resnext50_32x4d.IMAGENET1K_V2" in own
    accuracies = [resolve(tag).top1 or 0 for tag in own]
    assert accuracies == sorted(accuracies, reverse=True)
    assert tags("no such network") == []


@pytest.mark.parametrize(("tag", "sentence"), [
    ("timm/resnext50_32x4d.a1h_in1", "did you mean timm/resnext50_32x4d.a1h_in1k, "),
    ("resnext50_32x4d.a1h_in1k", "did you mean timm/resnext50_32x4d.a1h_in1k?"),
    ("resnext50_32x4d", "'resnext50_32x4d' is a network; its published weights are timm/"),
    ("outputs/2026-11-23/07-00-00", "There is no file or folder 'outputs/2026-11-23/07-00-00'."),
    ("zzzzzzzz", "a tag begins with timm/, torchvision/, pytorchcv/."),
])  # fmt: skip
def test_an_unknown_tag_is_refused_with_the_nearest_ones(tag, sentence):
    with pytest.raises(ValueError) as caught:
        resolve(tag)
    assert sentence in str(caught.value) and len(str(caught.value)) < 500


def test_info_of_a_network_and_of_weights():
    network = info("resnext50_32x4d")
    assert (network.family, network.settings["groups"], network.weights) == ("resnext", 32, None)
    assert "arXiv:1611.05431" in network.paper and "Layer names" not in network.paper
    page = str(network)
    assert "cardinality" in page and "timm/resnext50_32x4d.a1h_in1k" in page and "apache-2.0" in page
    weights = info("torchvision/shufflenet_v2_x1_0.IMAGENET1K_V1")
    assert weights.name == "shufflenet_v2_x1_0" and weights.weights.top1 == 69.362
    assert "not stated by the publisher" in str(weights) and "5666bf0f80" in str(weights)
    assert "none are published" in str(info("mobilenetv1_025"))
    with pytest.raises(ValueError, match="did you mean resnext50_32x4d"):
        info("resnext50_32x4")


def test_every_network_has_a_page():
    for name in zoo.list_models():
        page = info(name)
        assert page.paper and page.grouping and name in str(page)


def test_neither_needs_tensorflow():
    code = (
        "import sys; from zoo.information import info; from zoo.weights.published import tags; print(len(tags()) > 30, "
        "len(str(info('shufflenet_g3_w1'))) > 99, {'keras', 'tensorflow', 'huggingface_hub'} & set(sys.modules))"
    )
    assert run_code(code) == "True True set()\n"
