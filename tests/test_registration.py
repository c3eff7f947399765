"""Whichever of Keras and the zoo is imported first, saved models load; each order in a process of its own."""

import pytest

import zoo
from helpers.processes import run_code


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    import keras

    path = tmp_path_factory.mktemp("saved") / "model.keras"
    prepare = zoo.preprocessing("timm/mobilenetv1_100.ra4_e3600_r224_in1k", 32)
    model = zoo.create("mobilenetv1_025", 3, (32, 32, 3))
    keras.Sequential([keras.Input((40, 48, 3), dtype="uint8"), prepare, model]).save(path)
    return path


def test_zoo_before_keras(saved):
    """And what Keras says of itself is as it is without the zoo; a second import finds it as any module."""
    code = (
        "import sys, zoo\n"
        "assert not {'keras', 'tensorflow', 'blocks'} & set(sys.modules)\n"
        "import keras, importlib\n"
        f"print(keras.models.load_model({str(saved)!r}).output_shape)\n"
        "print(type(keras.__loader__).__name__, keras.__spec__.loader is keras.__loader__)\n"
        "print(importlib.reload(keras) is keras)\n"
        "assert not [each for each in sys.meta_path if type(each).__module__ == 'zoo.registration']"
    )
    assert run_code(code) == "(None, 3)\nSourceFileLoader True\nTrue\n"


@pytest.mark.heavy
@pytest.mark.parametrize("imports", [
    "import keras, zoo",
    "import zoo, tensorflow as tf; keras = tf.keras",
    "import zoo, tensorflow, keras",
    "import importlib.util, zoo; assert importlib.util.find_spec('keras').origin; import keras",
    "import zoo, blocks, keras",
    "import zoo; zoo.create; import keras",
    "import zoo; from keras import layers; import keras",
    "import zoo, zoo.input_pipeline, keras",
])  # fmt: skip
def test_every_other_order(saved, imports):
    assert run_code(f"{imports}\nprint(keras.models.load_model({str(saved)!r}).output_shape)") == "(None, 3)\n"


def test_without_keras_its_import_fails_as_ever(tmp_path):
    code = (
        "import sys, importlib.machinery, zoo\n"
        "sys.path[:] = [each for each in sys.path if 'site-packages' not in each]\n"
        "try:\n    import keras\nexcept ModuleNotFoundError as error:\n    print(error.name)"
    )
    assert run_code(code) == "keras\n"


def test_a_module_whose_import_brings_keras():
    run_code("import zoo.transforms; print(zoo.transforms.resized_side(224, 0.875))")
