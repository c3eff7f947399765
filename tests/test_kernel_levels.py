"""Which library and which level are used: forced ones, and those that a wheel brings."""

import json

import pytest

from blocks.kernels import build, levels, prebuilt, sources
from blocks.kernels.errors import BuildError
from helpers.kernels import SMALL, write_sources

AVX2 = "flags : fma avx2 bmi2"
AVX512 = f"{AVX2} avx512f avx512bw avx512cd avx512dq avx512vl"


@pytest.fixture
def on_machine(monkeypatch):
    """Sets what the machine is, and clears what the environment says of the kernels."""
    for name in ("BLOCKS_KERNELS_LEVEL", "BLOCKS_KERNELS_FLAGS"):
        monkeypatch.delenv(name, raising=False)

    def set_machine(flags: str, machine: str = "x86_64") -> None:
        monkeypatch.setattr(levels, "processor_flags", lambda: flags)
        monkeypatch.setattr(levels, "machine", lambda: machine)

    return set_machine


@pytest.fixture
def wheel(kernel_sources):
    """Writes what a wheel has: a library for TensorFlow 2.21, with the levels of this architecture."""

    def write(machine: str = "x86_64", **changed) -> None:
        (kernel_sources / "compute").mkdir(parents=True, exist_ok=True)
        (kernel_sources / "compute" / "a.cc").write_text("int a;\n")
        folder = kernel_sources / "prebuilt" / machine
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tensorflow-2.21.so").touch()
        facts = {
            "sources": sources.digest(),
            "levels": list(levels.FLAGS[machine]),
            "tensorflow": {"2.21": "tensorflow-2.21.so"},
        }
        (folder / prebuilt.MANIFEST).write_text(json.dumps(facts | changed))

    return write


def test_the_levels_of_a_processor(on_machine):
    on_machine("flags : sse4_2 avx")
    assert levels.available() == []
    on_machine(AVX2)
    assert levels.available() == ["avx2"]
    on_machine(f"{AVX512} avx512_bf16 amx_bf16")
    assert levels.available() == ["avx2", "avx512", "avx512_bf16"]
    on_machine("Features : fp asimd", "aarch64")
    assert levels.available() == ["neon"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("avx512", "BLOCKS_KERNELS_LEVEL=avx512 needs avx512f, which this processor lacks: use avx2, native, or"),
        ("neon", "BLOCKS_KERNELS_LEVEL='neon' is not known on x86_64: use avx2, native, or leave it out for the best"),
        ("best", "BLOCKS_KERNELS_LEVEL='best' is not known on x86_64: use avx2, native, or"),
    ],
)
def test_a_level_that_is_not_there_is_refused(on_machine, monkeypatch, name, message):
    on_machine(AVX2)
    monkeypatch.setenv("BLOCKS_KERNELS_LEVEL", name)
    with pytest.raises(BuildError) as error:
        levels.forced()
    assert message in str(error.value)
    with pytest.warns(UserWarning, match="not in use, because BLOCKS_KERNELS_LEVEL"):
        assert build.library.__wrapped__() is None


def test_a_forced_level_has_a_library_of_its_own(on_machine, monkeypatch, kernel_sources):
    import tensorflow as tf

    write_sources(kernel_sources, SMALL)
    on_machine(AVX2)
    names = {build._identity(tf, "true", level) for level in ("native", "avx2", "avx512")}
    assert len(names) == 3
    monkeypatch.setenv("BLOCKS_KERNELS_LEVEL", "AVX2")
    target = build.kernel_target(tf)
    assert isinstance(target, build.Request) and any("-march=x86-64-v3" in flags for _, flags in target.parts)
    assert any("-DBLOCKS_LEVELS(LEVEL)=LEVEL(avx2)" in flags for _, flags in target.parts)


def test_the_library_for_this_tensorflow_is_taken(on_machine, wheel, monkeypatch, kernel_sources):
    on_machine(AVX512)
    wheel()
    path = kernel_sources / "prebuilt/x86_64/tensorflow-2.21.so"
    assert prebuilt.suitable("2.21.0", None) == prebuilt.suitable("2.21.3rc1", "avx512") == path
    assert prebuilt.suitable("2.22.0", None) is None
    assert prebuilt.suitable("2.2.1", None) is None
    assert prebuilt.suitable("2.21.0", "native") is None
    on_machine("flags : sse4_2")
    assert prebuilt.suitable("2.21.0", None) is None, "no level that this processor has"
    on_machine("Features : asimd", "aarch64")
    assert prebuilt.suitable("2.21.0", None) is None
    wheel("aarch64")
    assert prebuilt.suitable("2.21.0", None).parent.name == "aarch64"


def test_more_flags_and_a_lack_of_the_file_compile(on_machine, wheel, monkeypatch, kernel_sources):
    import tensorflow as tf

    on_machine(AVX512)
    wheel(tensorflow={prebuilt.minor(tf.__version__): "tensorflow-2.21.so"})
    assert build.kernel_target(tf) == kernel_sources / "prebuilt/x86_64/tensorflow-2.21.so"
    monkeypatch.setenv("BLOCKS_KERNELS_FLAGS", "-DNUMBER=1")
    assert isinstance(build.kernel_target(tf), build.Request)
    monkeypatch.delenv("BLOCKS_KERNELS_FLAGS")
    (kernel_sources / "prebuilt/x86_64/tensorflow-2.21.so").unlink()
    assert isinstance(build.kernel_target(tf), build.Request)


def test_kernels_of_other_sources_are_not_used_and_that_is_said(on_machine, wheel, kernel_sources, capsys):
    on_machine(AVX2)
    wheel()
    (kernel_sources / "compute" / "a.cc").write_text("int a = 1;\n")
    assert prebuilt.suitable("2.21.0", None) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert "of other sources than these" in line and "wheels/build_kernels.py" in line
