"""Launchers and sweepers of Hydra's plugins: what they are given, and what becomes of runs that fail or are stopped."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from helpers.paths import CONF, ROOT
from helpers.processes import process_environment
from helpers.slurm import Slurm
from helpers.training import TINY, command, read_run
from zoo.errors import UserError
from zoo.training.checkpoints.resume import going_on
from zoo.training.messages import explain
from zoo.training.sweeps import check_numbers, check_search, figure, prefer_own_files, sweep_of, threads_of_a_run

OPTIONS = [
    ("launcher", "joblib"),
    ("launcher", "submitit_local"),
    ("launcher", "submitit_slurm"),
    ("sweeper", "optuna"),
]
EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm", "optuna": "optuna"}


def plugin(name):
    """Skips the test where Hydra's plugin is not installed."""
    path = f"hydra_plugins.hydra_{name}"
    installed = importlib.util.find_spec("hydra_plugins") and importlib.util.find_spec(path)
    extra = {"joblib_launcher": "joblib", "submitit_launcher": "slurm", "optuna_sweeper": "optuna"}[name]
    return pytest.mark.skipif(not installed, reason=f"{path} is not installed: the extra {extra!r}")


def wait_for(condition, process, seconds=200):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.returncode
        time.sleep(0.02)


def status(directory):
    path = directory / "result.json"
    return json.loads(path.read_text())["status"] if path.exists() else None


def epochs(directory):
    path = directory / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def test_every_file_is_tested_here():
    assert sorted((path.parent.name, path.stem) for path in (CONF / "hydra").rglob("*.yaml")) == OPTIONS


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_a_missing_plugin_costs_one_sentence_that_names_the_extra(group, option, tmp_path):
    run = f"runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')"
    code = f"import runpy, sys; sys.modules['hydra_plugins'] = None; {run}"
    arguments = ["-m", f"hydra/{group}={option}", "seed=0,1"]
    env = process_environment(without=("HYDRA_",))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path, env=env
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"hydra/{group}={option} needs hydra-") and "is not installed" in line
    assert line.endswith(f'pip install -e ".[{EXTRAS[option]}]"') and f'\n{EXTRAS[option]} = ["hydra-' in PROJECT
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


PROJECT = (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_file_composes_and_names_a_plugin(group, option):
    prefer_own_files(CONF)
    choice = [f"hydra/{group}={option}", *(["~hydra/sweeper/sampler"] if option == "optuna" else [])]
    if option == "optuna":
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason='Optuna comes with ".[optuna]"')
    with initialize_config_dir(str(CONF), version_base="1.3"):
        section = compose("config", choice, return_hydra_config=True).hydra[group]
    assert re.fullmatch(r"hydra_plugins\.hydra_\w+_(launcher|sweeper)\.\w+\.\w+", section["_target_"])
    own = yaml.safe_load((CONF / "hydra" / group / f"{option}.yaml").read_text())
    assert set(section) == set(own) - {"defaults"}
    if option == "optuna":
        parsed = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in section.params.items()])
        assert all(each.is_sweep_override() for each in parsed) and section.direction == "maximize"


def test_the_overrides_that_vary_are_known_of_a_search_too(tmp_path):
    hydra = {"mode": RunMode.MULTIRUN, "sweep": {"dir": str(tmp_path)}, "overrides": {"task": ["seed=3", "groups=8"]}}
    hydra["sweeper"] = {"params": {"recipe.weight_decay": "interval(0.0, 0.1)", "recipe.epochs": "3"}}
    asked = {
        **hydra,
        "overrides": {"task": ["seed=3", "groups=choice(8,16)", "recipe.learning_rate=tag(log, interval(0.1, 1))"]},
    }
    OmegaConf.save(OmegaConf.create({"hydra": asked}), tmp_path / "multirun.yaml")
    expected = ["groups", "recipe.learning_rate", "recipe.weight_decay"]
    assert sweep_of(OmegaConf.create(hydra)) == (tmp_path.name, expected)


def test_runs_of_joblib_share_the_cores(monkeypatch):
    monkeypatch.setattr("zoo.hardware.cores", lambda: 8)
    for jobs, threads in [(1, None), (2, 4), (3, 2), (16, 1), (-1, 1), (-5, 2), (-8, None), (-20, None)]:
        assert threads_of_a_run(OmegaConf.create({"launcher": {"n_jobs": jobs}})) == threads, jobs
    assert threads_of_a_run(OmegaConf.create({"launcher": {"_target_": "basic"}})) is None


def test_a_search_looks_for_the_best_of_a_figure_that_there_is():
    check_search("val_top1", "maximize")
    check_search("latency_seconds", "minimize")
    for objective, direction, sentence in [
        ("val_loss", "maximize", "of which less is better: use minimize."),
        ("val_top1", "Maximise", "of which more is better: use maximize."),
        ("val_top", "maximize", "objective=val_top is not allowed: did you mean val_top1"),
    ]:
        with pytest.raises(UserError, match=re.escape(sentence)):
            check_search(objective, direction)
    search = OmegaConf.create({"mode": RunMode.MULTIRUN, "sweeper": {"direction": "maximize"}})
    assert figure("val_loss", {"val_loss": 0.5}, search) == 0.5
    with pytest.raises(
        UserError, match="objective=test_top1 was not measured in this run: use one of val_top1, seconds"
    ):
        figure("test_top1", {"val_top1": 0.5, "seconds": 3, "val_loss": None}, search)
    assert figure("test_top1", {}, OmegaConf.create({"mode": RunMode.RUN, "sweeper": {}})) is None


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("launcher.n_jobs=0", "hydra.launcher.n_jobs=0 is not allowed: it must be another whole number than 0."),
        ("launcher.n_jobs=two", "hydra.launcher.n_jobs='two' is not allowed: it must be another whole number than 0."),
        (
            "launcher.timeout_min=0.5",
            "hydra.launcher.timeout_min=0.5 is not allowed: it must be a whole number from 1 on.",
        ),
        ("launcher.array_parallelism=true", "hydra.launcher.array_parallelism=true is not allowed: it must be a whole"),
        ("sweeper.n_jobs=-1", "hydra.sweeper.n_jobs=-1 is not allowed: it must be a whole number from 1 on."),
        ("launcher.n_jobs=-1", None),
        ("launcher.cpus_per_task=null", None),
    ],
)
def test_numbers_of_launchers_and_sweepers_are_checked(setting, sentence):
    hydra = OmegaConf.merge({"launcher": {}, "sweeper": {}}, OmegaConf.from_dotlist([setting]))
    if sentence is None:
        return check_numbers(hydra)
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}"):
        check_numbers(hydra)


@pytest.mark.parametrize(
    ("count", "resume", "expected"),
    [(None, None, None), ("0", None, None), ("2", None, "auto"), ("1", "runs/a", "runs/a")],
)
def test_a_job_that_slurm_starts_again_goes_on(count, resume, expected, monkeypatch, capsys):
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    if count is not None:
        monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    cfg = OmegaConf.create({"resume": resume, "seed": 3})
    assert going_on(cfg) == {"resume": expected, "seed": 3} and cfg.resume == resume
    assert ("SLURM has started this job again" in capsys.readouterr().err) == (expected == "auto")


@plugin("submitit_launcher")
def test_what_submitit_submits_to_slurm(tmp_path):
    slurm = Slurm(tmp_path / "slurm", process_environment(without=("SLURM", "HYDRA_")))
    options = ["hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=1", "hydra.launcher.array_parallelism=3"]
    options += ["+hydra.launcher.additional_parameters.mail-type=END", "hydra.launcher.comment='a comment'"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "-m", "hydra/launcher=submitit_slurm", "sweep=groups", *options],
        stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=slurm.environment,
    )  # fmt: skip
    wait_for(lambda: len([*tmp_path.rglob("*_submitted.pkl")]) == 6, process)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=30)[1]
    assert process.returncode == 130 and "Traceback" not in output and "Warning" not in output, output
    assert output.splitlines()[-1].startswith("Stopped by Ctrl-C. What SLURM has been given goes on: `squeue --me`")
    assert "#5 : groups=32 seed=0 model=resnext model.depth=26 recipe=quick" in output
    sweep = next((tmp_path / "multirun").iterdir())
    folder = f"{sweep}/.submitit"
    assert [line for line in slurm.script if line.startswith("#SBATCH")] == [
        "#SBATCH --array=0-5%3",
        "#SBATCH --comment='a comment'",
        "#SBATCH --cpus-per-task=4",
        f"#SBATCH --error={folder}/%A_%a/%A_%a_0_log.err",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --job-name=grouped-convolutions",
        "#SBATCH --mail-type=END",
        "#SBATCH --mem=16GB",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={folder}/%A_%a/%A_%a_0_log.out",
        "#SBATCH --partition=gpu",
        "#SBATCH --signal=USR2@120",
        "#SBATCH --time=240",
        "#SBATCH --wckey=submitit",
    ]
    srun = f"srun --unbuffered --output {folder}/%A_%a/%A_%a_%t_log.out --error {folder}/%A_%a/%A_%a_%t_log.err "
    assert slurm.script[-2:] == [
        "export SUBMITIT_EXECUTOR=slurm",
        f"{srun}--cpus-per-task=4 {sys.executable} -u -m submitit.core._submit {folder}/%j",
    ]


@plugin("submitit_launcher")
def test_without_slurm_one_sentence_says_so(tmp_path):
    env = process_environment(without=("HYDRA_",)) | {"PATH": str(tmp_path)}
    line = [sys.executable, str(ROOT / "train.py"), "-m", "hydra/launcher=submitit_slurm", "seed=0,1"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 1 and done.stderr.startswith(
        "hydra/launcher=submitit_slurm needs a login node of a SLURM"
    )
    assert done.stderr.count("\n") == 1


@plugin("submitit_launcher")
def test_what_submitit_says_of_a_job_costs_one_sentence():
    """Its own sentences are paragraphs, with paths of pickles and tracebacks in them."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    path = "with path sweep/.submitit/4711_0/4711_0_0_result.pkl"
    text = f"Job 4711_0 (task: 0) {path}\nhas not produced any output (state: OUT_OF_MEMORY)\nNo output/error stream"
    expected = "Job 4711_0 ended without a result (state OUT_OF_MEMORY): sweep/.submitit/4711_0 has what it printed."
    assert explain(UncompletedJobError(text), [], CONF).startswith(expected)
    text = "Job (task=0) failed during processing with trace:\n---\nTraceback\n  1\nModuleNotFoundError: No zoo\n---"
    assert explain(FailedJobError(text), [], CONF) == "submitit: ModuleNotFoundError: No zoo"
    text = "sbatch: error: invalid partition specified: gpuu\nsbatch: error: Batch job submission failed"
    assert explain(FailedJobError(text), [], CONF) == f"submitit: {' '.join(text.split())}"


@plugin("joblib_launcher")
def test_every_run_of_joblib_is_tried_and_refused_in_one_sentence(tmp_path):
    line = [sys.executable, str(ROOT / "train.py"), "-m", "hydra/launcher=joblib", "model=mobilenet_v1", "groups=5,6,7"]
    done = subprocess.run(
        line, capture_output=True, text=True, cwd=tmp_path, env=process_environment(without=("HYDRA_",))
    )
    assert (done.returncode, done.stdout) == (1, "") and "Traceback" not in done.stderr, done.stderr
    for groups in (5, 6, 7):
        assert f"This run failed, the sweep goes on: groups={groups} does not divide" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("groups=5 does not divide")


@pytest.mark.heavy
@plugin("submitit_launcher")
def test_a_preempted_run_is_saved_queued_again_and_goes_on(data_dir, tmp_path):
    """SLURM's signal reaches submitit's process and the run's, as on a node; the second run is not disturbed."""
    slurm = Slurm(tmp_path / "slurm", process_environment(without=("SLURM", "HYDRA_")))
    options = [*TINY, "tracking=disabled", "recipe.epochs=40", "recipe.warmup_epochs=0", "limit_steps=4", "seed=0,1"]
    line = command(data_dir, "-m", "hydra/launcher=submitit_slurm", "hydra.sweep.dir=sweep", *options)
    with (tmp_path / "log").open("w") as log:
        sweep = subprocess.Popen(line, stdout=log, stderr=log, cwd=tmp_path, env=slurm.environment)
    wait_for(lambda: len([*tmp_path.rglob("*_submitted.pkl")]) == 2, sweep)
    first, second = tmp_path / "sweep" / "0", tmp_path / "sweep" / "1"
    job = slurm.start(0, tmp_path)
    wait_for(lambda: epochs(first) > 1, job)
    for process in [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]:
        if "train" in " ".join(process.cmdline()) or "submitit" in " ".join(process.cmdline()):
            process.send_signal(signal.SIGUSR2)
    job.wait(timeout=60)
    assert status(first) == "interrupted" and (first / "model.keras").exists()
    assert slurm.asked == ["requeue 4711_0"]
    assert sweep.poll() is None
    done = epochs(first)
    job, other = slurm.start(0, tmp_path, SLURM_RESTART_COUNT="1"), slurm.start(1, tmp_path)
    assert (job.wait(timeout=200), other.wait(timeout=200), sweep.wait(timeout=60)) == (0, 0, 0), (
        tmp_path / "log"
    ).read_text()
    for directory in (first, second):
        rows, result = read_run(directory)
        assert result["status"] == "finished" and [row["epoch"] for row in rows] == list(range(1, 41))
    assert 1 < done < 40 and read_run(first)[1]["resumed_from"]
    error = next((tmp_path / "sweep" / ".submitit").glob("*_0/*.err")).read_text()
    assert "SLURM has started this job again" in error and "Goes on from" in error


@pytest.mark.heavy
@plugin("joblib_launcher")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_joblib_sweep_that_is_stopped_saves_every_model(name, data_dir, tmp_path):
    """Ctrl-C reaches the terminal's whole process group, SIGTERM the one process that a scheduler knows."""
    options = [*TINY, "tracking=disabled", "recipe.epochs=500", "recipe.warmup_epochs=0", "limit_steps=4", "seed=0,1,2"]
    line = command(data_dir, "-m", "hydra/launcher=joblib", "hydra.sweep.dir=sweep", *options)
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True)
    runs = [tmp_path / "sweep" / number for number in "01"]
    wait_for(lambda: min(map(epochs, runs)) > 1, process)
    if name == "SIGINT":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=100)[1]
    assert process.returncode == 128 + getattr(signal, name) and "Traceback" not in output, output
    assert [status(run) for run in runs] == ["interrupted"] * 2 and all((run / "model.keras").exists() for run in runs)
    assert not (tmp_path / "sweep" / "2" / "model.keras").exists()


@pytest.mark.heavy
@plugin("joblib_launcher")
def test_a_run_that_fails_does_not_end_a_joblib_sweep(data_dir, tmp_path):
    options = [*TINY, "tracking=disabled", "recipe.epochs=1", "recipe.warmup_epochs=0", "limit_steps=2", "groups=5,1,2"]
    line = command(data_dir, "-m", "hydra/launcher=joblib", "hydra.sweep.dir=sweep", *options)
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=290)
    assert done.returncode == 1 and "Traceback" not in done.stderr and done.stdout == ""
    assert "This run failed, the sweep goes on: groups=5 does not divide" in done.stderr
    assert [status(tmp_path / "sweep" / number) for number in "012"] == [None, "finished", "finished"]
    result = read_run(tmp_path / "sweep" / "1")[1]
    assert result["threads"] == (threads_of_a_run(OmegaConf.create({"launcher": {"n_jobs": 2}})))
    assert result["group"] == read_run(tmp_path / "sweep" / "2")[1]["group"] == "mobilenet_v1-digits-sweep"


@pytest.mark.heavy
@plugin("optuna_sweeper")
def test_a_search_counts_failed_runs_as_such_and_says_what_was_best(data_dir, tmp_path):
    options = [*TINY, "tracking=disabled", "recipe.epochs=1", "recipe.warmup_epochs=0", "recipe.weight_decay=0"]
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweep.dir=sweep", "recipe.label_smoothing=0"]
    search += [
        "hydra.sweeper.params=null",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=11",  # tries one that is good, one that is refused, one that diverges
        "groups=choice(1,5)",
        "recipe.learning_rate=choice(1e30,0.01)",
    ]
    done = subprocess.run(
        command(data_dir, "-m", *search, *options), capture_output=True, text=True, cwd=tmp_path, timeout=290
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    best = yaml.safe_load((tmp_path / "sweep" / "optimization_results.yaml").read_text())
    assert best["best_params"] == {"groups": 1, "recipe.learning_rate": 0.01} and best["best_value"] > 0
    assert "Best parameters: {" in done.stderr and done.stderr.count("This run failed, the sweep goes on: ") == 2
    results = [read_run(path.parent)[1] for path in (tmp_path / "sweep").glob("*/result.json")]
    assert sorted(result["status"] for result in results) == ["failed", "finished"]  # refused settings leave none
    (finished,) = [result for result in results if result["status"] == "finished"]
    assert finished["val_top1"] == pytest.approx(best["best_value"])
    assert len({result["group"] for result in results}) == 1
    compared = subprocess.run(
        [sys.executable, "-m", "zoo", "compare", "sweep", "--json"], capture_output=True, text=True, cwd=tmp_path
    )
    figures = json.loads(compared.stdout)["rows"][0]["figures"]
    assert figures["val_top1"]["mean"] == pytest.approx(best["best_value"])


@plugin("optuna_sweeper")
def test_a_search_that_cannot_succeed_ends_with_one_sentence(tmp_path):
    line = [sys.executable, str(ROOT / "train.py"), "-m", "hydra/sweeper=optuna"]
    done = subprocess.run([*line, "objective=val_loss"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "use minimize." in done.stderr
    done = subprocess.run([*line, "hydra/sweeper/sampler=grid"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("The space has intervals, which have no grid. A grid needs no")
    done = subprocess.run([*line, "hydra.sweeper.n_trials=1", "groups=0"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("No run of the search has finished")
