"""Files are compared with their models in their own runtimes, and say what they are; what differs is not written."""

import json
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

import blocks
import zoo
from helpers.arrays import draw
from helpers.checks import check_close, refusal
from helpers.pictures import picture
from helpers.randomized import randomized
from helpers.runtimes import litert, onnx
from zoo.data_config import DataConfig
from zoo.exporting import FORMATS, ExportError, metadata
from zoo.exporting.assembly import grouped_convolutions
from zoo.exporting.images import MOST, Samples, samples_of
from zoo.exporting.onnx import Onnx
from zoo.exporting.pictures import prepared
from zoo.exporting.verification import compare

IMAGES = draw(12, 16, 16, 3)
LABELS = np.arange(12) % 3
CONFIG = DataConfig(
    size=(16, 16), mean=(0.5,), std=(0.25,), crop_pct=0.875, class_names=("cat", "dog", "a\u00e9"), license="mit"
)


def network(channels: int = 3, size: tuple = (16, 16), activation: str | None = None) -> keras.Model:
    """Keras's own layers, grouped ones too, with a normalisation."""
    images = keras.Input((*size, channels), name="images")
    x = layers.Conv2D(16, 3, 2, "same", use_bias=False)(images)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(16, 3, groups=4, padding="same")(x)
    x = layers.SeparableConv2D(8, 3)(layers.DepthwiseConv2D(3)(x))
    x = layers.Dense(3, activation=activation, name="logits")(layers.GlobalAveragePooling2D()(x))
    return randomized(keras.Model(images, x, name="net"))


@pytest.fixture(scope="module")
def model():
    return network()


class Damaged(Onnx):
    """Writes other weights than the model's."""

    name = "damaged"

    def write(self, task, path):
        import onnx as package

        super().write(task, path)
        file = package.load(path)
        weights = next(each for each in file.graph.initializer if len(each.dims) == 4)
        values = package.numpy_helper.to_array(weights)
        weights.CopyFrom(package.numpy_helper.from_array(values * 1.01, weights.name))
        package.save(file, path)


class Interrupted(Onnx):
    name = "interrupted"

    def run(self, *arguments):
        raise KeyboardInterrupt


@pytest.fixture
def more_formats(monkeypatch):
    """As a user adds formats of his own."""
    for each in (Damaged(), Interrupted()):
        monkeypatch.setitem(FORMATS, each.name, each)


@pytest.mark.parametrize("name", [
    "onnx",
    "litert-int8",
    "openvino",
    *(pytest.param(name, marks=pytest.mark.heavy) for name in ("litert", "litert-fp16", "litert-dynamic")),
])  # fmt: skip
def test_the_report_and_the_metadata_of_a_file(name, model, tmp_path):
    path = tmp_path / f"net{FORMATS[name].suffix}"
    report = zoo.export(model, path, name, config=CONFIG, images=(IMAGES, LABELS))
    assert (report.format, report.path, report.bytes) == (
        name,
        path,
        sum(each.stat().st_size for each in [path, *path.glob("*")] if each.is_file()),
    )
    assert report.grouped_convolutions == report.model_grouped_convolutions == 3
    assert report.images == 12 and not report.drawn and report.batch == report.threads == 1 and report.seconds > 0
    assert report.difference <= (FORMATS[name].bounds.difference or 0.1) and report.cosine > 0.99
    expected = np.argmax(model(IMAGES), 1)
    assert report.model_top1 == np.mean(expected == LABELS) and abs(report.top1 - report.model_top1) < 0.2
    said = metadata(path)
    assert DataConfig.from_json(said["zoo"]) == CONFIG
    assert said["class_names"].split("\n") == list(CONFIG.class_names) and said["license"] == "mit"
    assert json.dumps(report.plain())


def test_a_folder_keeps_its_metadata(model, tmp_path):
    report = zoo.export(model, tmp_path / "saved", config=CONFIG, softmax=True, verify=False)
    assert report.seconds is None and "verified    no" in str(report)
    config = DataConfig.from_json(metadata(tmp_path / "saved")["zoo"])
    assert config.classifier_activation == "softmax" and config.class_names == CONFIG.class_names
    loaded = tf.saved_model.load(tmp_path / "saved")
    assert sum(variable.shape.num_elements() for variable in loaded.variables) > 500, "weights are no constants"
    served = loaded.signatures["serving_default"](tf.constant(IMAGES))
    check_close(served["probabilities"], tf.nn.softmax(model(IMAGES)))


@pytest.mark.heavy
def test_a_saved_model_runs_without_our_packages(model, tmp_path):
    report = zoo.export(model, tmp_path / "saved", images=(IMAGES, LABELS))
    assert report.difference < 1e-4 and report.grouped_convolutions == 3 and report.top1 == report.model_top1


@pytest.mark.parametrize("kernel, groups", [(1, 1), (3, 4)])
@pytest.mark.parametrize("activation", ["hard_sigmoid", "hard_silu"])
def test_tensorflow_runs_hard_activations_behind_a_bias(activation, kernel, groups, tmp_path):
    """Its optimiser took their constants for a residual sum, which its convolution by oneDNN cannot add."""
    images = keras.Input((4, 4, 32))
    layer = blocks.GroupedConv2D(128, kernel, activation=activation, groups=groups)
    model = randomized(keras.Model(images, layer(images)))
    zoo.export(model, tmp_path / "saved", verify=False)
    values = draw(2, 4, 4, 32)
    (outputs,) = tf.saved_model.load(tmp_path / "saved").signatures["serving_default"](tf.constant(values)).values()
    check_close(outputs, model(values))


def test_a_file_that_differs_is_refused_and_the_one_before_it_stays(model, tmp_path, more_formats):
    (tmp_path / "net.onnx").write_text("mine")
    sentence = refusal(lambda: zoo.export(model, tmp_path / "net.onnx", "damaged"), ExportError)
    assert sentence.startswith("net as damaged is not written, for its outputs are not the model's: they differ by 0.0")
    for path in ("net.onnx", "new/folder/net.onnx"):
        with pytest.raises(KeyboardInterrupt):
            zoo.export(model, tmp_path / path, "interrupted")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert (tmp_path / "net.onnx").read_text() == "mine"


def test_a_file_that_tells_no_images_apart_is_refused():
    """Its outputs may be near, where all outputs of the model are: a padding of -3.4e38, quantised, gave such files."""
    expected = [[np.array([10.0, 11.0 + 0.01 * place])] for place in range(8)]
    same = compare([[np.array([10.0, 11.0])]] * 8, expected)
    assert same.cosine > 0.9999 and same.difference < 0.01 and same.variation == 0
    assert "tell no images apart" in same.beyond(FORMATS["litert-int8"].bounds)
    noisy = [[array + 0.002 * (-1) ** place] for place, (array,) in enumerate(expected)]
    assert compare(noisy, expected).beyond(FORMATS["litert-int8"].bounds) is None
    assert "cosine similarity is -1.000" in compare([[-each[0]] for each in expected], expected).beyond(
        FORMATS["litert-dynamic"].bounds
    )
    assert compare([[np.full(2, np.nan)]] * 8, expected).beyond(FORMATS["onnx"].bounds)


def test_batches_opsets_and_softmax(model, tmp_path):
    report = zoo.export(model, tmp_path / "net.onnx", batch=5, opset=17, softmax=True, images=IMAGES)
    session, _ = onnx(tmp_path / "net.onnx")
    assert session.get_inputs()[0].shape == [5, 16, 16, 3] and session.get_outputs()[0].name == "probabilities"
    check_close(session.run(None, {"images": IMAGES[:5]})[0], tf.nn.softmax(model(IMAGES[:5])))
    import onnx as package

    assert package.load(tmp_path / "net.onnx").opset_import[0].version == 17
    assert (report.batch, report.images) == (5, 12)
    zoo.export(model, tmp_path / "net.tflite", batch=2)
    assert list(litert(tmp_path / "net.tflite")[0].get_input_details()[0]["shape_signature"]) == [2, 16, 16, 3]


WRONG = [
    ({"opset": 99}, "opset=99 is not allowed: use 13 to 18; the nearest is 18."),
    ({"opset": "15"}, "opset='15' is not allowed: use 13 to 18."),
    ({"format": "litert", "opset": 15}, "opset=15 is not allowed for format='litert': ONNX alone has operator sets."),
    ({"batch": 0}, "batch=0 is not allowed: give a whole number of at least 1."),
    ({"threads": True}, "threads=True is not allowed: give a whole number of at least 1."),
    ({"format": "litert-int8"}, "format='litert-int8' is calibrated on images: give images=, some hundred as in "),
    ({"images": IMAGES[:, :8]}, "images= of shape (12, 8, 16, 3) and type float32 do not suit the file, which takes "),
    ({"images": (IMAGES, LABELS[:3])}, "images= has 12 images and labels of shape (3,): give one for each."),
    ({"images": 3}, "images=int is not allowed: give an array, images and labels, a data set of batches, or a folder"),
    ({"images": []}, "images= holds no images."),
    ({"images": "pictures"}, "images='pictures' is a folder of pictures, and it is not known how this model sees pict"),
    ({"images": "pictures", "config": CONFIG}, "pictures is no folder of pictures: not there."),
    (
        {"preprocessing": True},
        "preprocessing=True needs config=DataConfig(...), which says how the model sees pictures",
    ),
    (
        {"config": DataConfig((8, 8), (0,), (1,)), "preprocessing": True},
        "Preprocessing gives images (8, 8, 3), and net ",
    ),
    (
        {"config": DataConfig((8, 8), (0,), (1,), class_names=("a",))},
        "net has 3 outputs, and config.class_names has 1.",
    ),
    (
        {"config": DataConfig((16, 16), (0,), (1,), interpolation="area"), "preprocessing": True},
        "interpolation='area' ",
    ),
]


@pytest.mark.parametrize("options, sentence", WRONG, ids=[sentence[:40] for _, sentence in WRONG])
def test_a_mistake_costs_one_sentence(options, sentence, model, tmp_path):
    suffix = FORMATS[options.get("format", "onnx")].suffix
    assert refusal(lambda: zoo.export(model, tmp_path / f"new/net{suffix}", **options)).startswith(sentence)
    assert not list(tmp_path.iterdir())


def test_models_that_cannot_be_what_is_asked_for(model, tmp_path):
    ended = network(activation="softmax")
    assert "ends in a softmax already" in refusal(lambda: zoo.export(ended, tmp_path / "net.onnx", softmax=True))
    maps = keras.Model(model.inputs, [model.layers[1].output, model.output])
    assert "softmax=True is for one output" in refusal(lambda: zoo.export(maps, tmp_path / "net.onnx", softmax=True))
    assert refusal(lambda: zoo.export(3, tmp_path / "net.onnx"), TypeError).endswith("got int.")
    (tmp_path / "file").write_text("mine")
    assert "makes a folder" in refusal(lambda: zoo.export(model, tmp_path / "file"), FileExistsError)
    assert "There is no file" in refusal(lambda: metadata(tmp_path / "none.onnx"))
    for name in ("text.onnx", "text.tflite"):
        (tmp_path / name).write_text("no model at all")
        assert refusal(lambda name=name: metadata(tmp_path / name)).startswith(f"{tmp_path / name} is not a")


def test_kerass_grouped_convolutions_need_the_fold(model, tmp_path):
    """XLA computes them, which ONNX lacks; folded they are ours."""
    sentence = refusal(lambda: zoo.export(model, tmp_path / "net.onnx", fold=False), ExportError)
    assert sentence.startswith("ONNX lacks the operations ") and "as which TensorFlow calls what XLA" in sentence
    assert zoo.export(model, tmp_path / "net.onnx").grouped_convolutions == 3


def test_what_cannot_be_fused_is_written_as_it_is(tmp_path):
    images = keras.Input((8, 8, 4))
    twice = layers.BatchNormalization(name="twice")
    x = twice(layers.ReLU()(twice(layers.Conv2D(4, 1)(images))))
    report = zoo.export(randomized(keras.Model(images, x)), tmp_path / "net.onnx")
    assert report.notes[0].startswith("twice is not fused: ") and report.difference < 1e-4

    class Own(layers.Layer):
        def __init__(self, function, **options):
            super().__init__(**options)
            self.function = function

        def call(self, inputs):
            return self.function(inputs)

    own = keras.Model(images, Own(lambda x: 3 * x)(images))
    report = zoo.export(own, tmp_path / "own.onnx")
    assert report.notes[0].startswith("It is not fused: Layer 'own' cannot be copied") and report.difference < 1e-6


def test_mixed_precision_is_written_in_float32(tmp_path):
    images = keras.Input((8, 8, 4))
    inner = keras.Sequential([keras.Input((8, 8, 8)), blocks.GroupedConv2D(4, 3, groups=2, dtype="mixed_bfloat16")])
    x = inner(blocks.GroupedConv2D(8, 3, padding="same", groups=4, dtype="mixed_bfloat16")(images))
    report = zoo.export(keras.Model(images, x), tmp_path / "net.onnx")
    assert report.difference < 1e-4 and report.grouped_convolutions == 2
    assert onnx(tmp_path / "net.onnx")[0].get_outputs()[0].type == "tensor(float)"


@pytest.mark.parametrize("name, channels, size", [
    ("onnx", 1, (16, 24)),
    ("litert-int8", 3, (16, 16)),
    pytest.param("onnx", 3, (16, 16), marks=pytest.mark.heavy),
    pytest.param("litert-int8", 1, (16, 24), marks=pytest.mark.heavy),
    pytest.param("litert-dynamic", 3, (16, 16), marks=pytest.mark.heavy),
])  # fmt: skip
def test_pictures_go_in_and_are_prepared_exactly(name, channels, size, tmp_path):
    """Within an int8 file too, where 8 bits would leave nothing of the sums."""
    config = DataConfig(size=size, mean=(0.5,), std=(0.25,), channels=channels, crop_pct=0.875)
    pictures = np.stack([picture(40, 50), picture(40, 50)[::-1], 255 - picture(40, 50)])[..., :channels]
    path = tmp_path / f"net{FORMATS[name].suffix}"
    inner = network(channels, size)
    report = zoo.export(inner, path, name, config=config, preprocessing=True, images=pictures)
    assert report.cosine > 0.99 and report.grouped_convolutions == 3
    assert DataConfig.from_json(metadata(path)["zoo"]).include_preprocessing
    plain = zoo.export(inner, tmp_path / f"plain{path.suffix}", name, images=np.asarray(prepared(pictures, config)))
    assert report.difference == pytest.approx(plain.difference, abs=2e-6 if name == "onnx" else 0.02)


def test_a_folder_of_pictures_by_class(model, tmp_path):
    for name in ("dog", "cat", "dog/puppies"):
        (tmp_path / "pictures" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(20, 30)).save(tmp_path / "pictures" / name / "1.png")
    report = zoo.export(model, tmp_path / "net.onnx", config=CONFIG, images=tmp_path / "pictures")
    expected = np.argmax(model(np.asarray(prepared(picture(20, 30)[None], CONFIG))))
    assert report.images == 3 and report.top1 == report.model_top1 == [1 / 3, 2 / 3, 0][expected]
    (tmp_path / "pictures" / "dog" / "2.jpg").write_text("no picture")
    sentence = refusal(lambda: zoo.export(model, tmp_path / "net.onnx", config=CONFIG, images=tmp_path / "pictures"))
    assert sentence == f"{tmp_path}/pictures/dog/2.jpg is not a picture that Pillow reads, or a damaged one."


SPECIFICATIONS: list = [keras.InputSpec("float32", (None, 16, 16, 3))]


def test_images_come_in_many_shapes():
    for given in (
        (IMAGES, LABELS),
        (IMAGES, np.eye(3)[LABELS]),
        tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)),
        tf.data.Dataset.from_tensor_slices((IMAGES, LABELS[:, None])).batch(5),
        list(zip(IMAGES, LABELS, strict=True)),
    ):
        samples = samples_of(given, SPECIFICATIONS)
        np.testing.assert_array_equal([each for (each,) in samples.inputs], IMAGES)
        assert samples.labels == LABELS.tolist()
    for given in (IMAGES, tf.constant(IMAGES), list(IMAGES), iter([IMAGES[:3], IMAGES[3:]]), IMAGES.astype("float64")):
        samples = samples_of(given, SPECIFICATIONS)
        assert len(samples.inputs) == 12 and samples.labels is None
    endless = tf.data.Dataset.from_tensors(IMAGES).repeat()
    assert len(samples_of(endless, SPECIFICATIONS).inputs) == MOST
    batches = list(Samples([[image] for image in IMAGES]).batches(5))
    assert [number for _, number in batches] == [5, 5, 2] and all(arrays[0].shape[0] == 5 for arrays, _ in batches)


class Counted:
    """What grouped convolutions are, by kind of layer."""

    LAYERS: ClassVar = {
        "uneven": (lambda: blocks.GroupedConv2D(8, 1, groups=(2, 2, 1, 3)), 1),
        "depthwise": (lambda: layers.DepthwiseConv2D(3), 1),
        "separable": (lambda: blocks.DepthwiseSeparableConv2D(4, 3, groups=(4, 4)), 1),
        "dense": (lambda: layers.Conv2D(4, 3), 0),
    }


@pytest.mark.parametrize("name", Counted.LAYERS)
def test_grouped_convolutions_are_counted_alike(name, tmp_path):
    make, expected = Counted.LAYERS[name]
    images = keras.Input((6, 6, 8))
    model = keras.Model(images, keras.Sequential([keras.Input((6, 6, 8)), make()])(images))
    assert grouped_convolutions(model) == expected
    assert zoo.export(model, tmp_path / "net.onnx").grouped_convolutions == expected
