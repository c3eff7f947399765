"""`zoo.choosing`: amounts with units, filters, the cache of latencies, the order of measuring, ranking, front."""

import dataclasses
import itertools
import json
import random
import re

import pytest

from zoo.benchmarking.processes import ContenderError
from zoo.choosing import units
from zoo.choosing.candidates import PERMISSIVE, Candidate, Limits, candidates, passing, why_none
from zoo.choosing.measured import Cache, Latency, conditions
from zoo.choosing.results import not_measured, nothing_within, results
from zoo.choosing.search import Meter, Outcome, networks, next_network, search
from zoo.costs import costs
from zoo.weights.published import resolve, tags


def candidate(name: str, top1: float = 70.0, macs: int = 100, **more) -> Candidate:
    values = {"parameters": 10**6, "megabytes": 4.0, "licence": "mit", "size": 224, "model": name} | more
    return Candidate(tag=f"timm/{name}", top1=top1, macs=macs, **values)


def latency(seconds: float) -> Latency:
    return Latency(seconds, 1.1 * seconds, 10, 0.05)


@pytest.mark.parametrize(
    "read, text, value",
    [
        *((units.seconds, text, 0.01) for text in ("10ms", "0.01s", "10000us", "1e-2s", "10.0ms")),
        *((units.count, text, 5_000_000) for text in ("5M", "5e6", "5000000", "5000k", "0.005G")),
        *((units.percent, text, 72.0) for text in ("72", "72.0", "72%")),
        *((units.megabytes, text, 20.0) for text in ("20", "20.0", "2e1")),
    ],
)
def test_amounts(read, text, value):
    assert read(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    "read, text, nearest",
    [
        (units.seconds, "10", "10ms"), (units.seconds, "10 ms", "10ms"), (units.seconds, "10MS", "10ms"),
        (units.seconds, "2min", "2ms"), (units.seconds, "-1ms", "10ms"), (units.seconds, "0ms", "10ms"),
        (units.seconds, "infs", "10ms"), (units.seconds, "nan", "10ms"), (units.seconds, "", "10ms"),
        (units.seconds, "1e400s", "10ms"), (units.seconds, "1٢ms", "1ms"),
        (units.count, "5m", "5M"), (units.count, "5 M", "5M"), (units.count, "5Mio", "5"), (units.count, "1.5", "1.5M"),
        (units.count, "0", "5M"), (units.count, "-5M", "5M"), (units.count, "5MM", "5"), (units.count, "five", "5M"),
        (units.count, "5,000,000", "5000000"), (units.count, "1.2345k", "5M"), (units.count, "9000000G", "5M"),
        (units.seconds, "1,5ms", "1.5ms"),
        (units.percent, "0.72", "72"), (units.percent, "100", "99.9"), (units.percent, "0", "1"),
        (units.percent, "a lot", "72"), (units.megabytes, "20MB", "20"), (units.megabytes, "0", "20"),
    ],
)  # fmt: skip
def test_other_amounts_are_refused_with_the_nearest(read, text, nearest):
    """And the nearest is one that is allowed."""
    with pytest.raises(ValueError, match=re.escape(f"the nearest is {nearest}.")) as raised:
        read(text)
    assert str(raised.value).startswith(repr(text)) and read(nearest) > 0


def test_every_checkpoint_is_a_candidate_or_named_with_the_reason():
    assert len(tags()) == 354
    seen = []
    for dataset in ("imagenet1k", "cifar10", "cifar100", "svhn"):
        known = candidates("fused", dataset)
        seen += [each.tag for each in known.all]
        everything = [*seen[len(seen) - len(known.all) :], *known.without_accuracy, *known.other_data]
        assert sorted(everything) == sorted(tags())
        assert all(resolve(tag).top1 is None for tag in known.without_accuracy)
    assert len(seen) == len(set(seen)) and all(resolve(tag).top1 for tag in seen)
    accuracies = [each.top1 for each in candidates("fused").all]
    assert accuracies == sorted(accuracies, reverse=True)


def test_a_candidate_is_measured_at_the_size_that_its_accuracy_is_of():
    known = {each.tag: each for each in candidates("litert-int8").all}
    larger = known["timm/convnext_atto.d2_in1k"]
    recorded = costs("convnext_atto")
    assert (larger.size, recorded.size) == (288, 224)
    assert larger.macs == pytest.approx(recorded.macs * 288**2 / 224**2, rel=1e-9)
    assert larger.megabytes == pytest.approx(recorded.parameters / 1e6)
    plain = next(each for each in candidates("fused").all if each.tag == larger.tag)
    assert plain.megabytes == pytest.approx(4 * larger.megabytes)


def test_filters_are_the_plain_definition():
    limits = Limits(top1=70.0, params=6_000_000, macs=400_000_000, size_mb=22.0, licence="permissive")
    every = candidates("fused").all
    expected = [
        each.tag
        for each in every
        if each.top1 >= 70
        and each.parameters <= 6_000_000
        and each.macs <= 400_000_000
        and 4 * each.parameters <= 22e6
        and resolve(each.tag).licence in ("apache-2.0", "mit", "bsd-3-clause")
    ]
    assert [each.tag for each in passing(every, limits.criteria({}))] == expected and len(expected) > 3
    assert passing(every, Limits().criteria({})) == list(every)
    assert all(not re.search("nc|seer|dinov3|research|mobileone", name) for name in PERMISSIVE)


def test_a_limit_includes_its_value():
    exact = candidate("a", top1=72.0, macs=300, parameters=5)
    assert passing([exact], Limits(top1=72.0, macs=300, params=5, size_mb=4.0).criteria({})) == [exact]
    assert passing([exact], Limits(top1=72.01).criteria({})) == []


def test_why_nothing_passes():
    members = [candidate("small", 60.0, parameters=10**6), candidate("large", 80.0, parameters=9 * 10**6)]
    criteria = Limits(top1=75.0, params=8_000_000).criteria({"params": "8M"})
    assert why_none(members, criteria) == (
        "--top1 75 excludes most, 1 of 2. The nearest is timm/large, with 9,000,000 parameters (--params 8M), which"
        " passes all else."
    )
    unstated = [candidate("a", licence=None)]
    text = why_none(unstated, Limits(licence="permissive").criteria({}))
    assert "no permissive licence that is stated (--licence permissive)" in text


DAMAGED = {
    "": "is cut off or no JSON",
    "{": "is cut off or no JSON",
    "[" * 100_000: "is cut off or no JSON",
    "[]": "it holds no object",
    '{"version": 9}': "it is of version 9, and 1 is read",
}


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_entry_is_named_and_measured_again(tmp_path, text):
    said = []
    cache = Cache(conditions("fused", 1, 1), said.append, tmp_path)
    cache.put("net", 224, latency(0.01))
    assert cache.get("net", 224) == latency(0.01) and said == []
    cache.path("net", 224).write_text(text)
    assert cache.get("net", 224) is None
    assert said == [f"{cache.path('net', 224)}: {DAMAGED[text]}; net is measured again."]
    measured = []

    def measure(model, size):
        measured.append((model, size))
        return latency(0.02)

    search([candidate("net")], cache, Outcome(), measure)
    assert measured == [("net", 224)] and cache.get("net", 224) == latency(0.02)
    assert [path.name for path in cache.folder.iterdir()] == ["net-224.json"]  # nothing is left aside


@pytest.mark.parametrize(
    "key, value",
    [
        ("median", 0), ("median", -1.0), ("median", None), ("median", "fast"), ("median", True), ("p90", float("inf")),
        ("timings", 0), ("others", 1.5), ("model", "other"), ("size", 32), ("conditions", {}),
    ],
)  # fmt: skip
def test_an_entry_with_another_value_is_not_taken(tmp_path, key, value):
    said = []
    cache = Cache(conditions("fused", 1, 1), said.append, tmp_path)
    cache.put("net", 224, latency(0.01))
    entry = json.loads(cache.path("net", 224).read_text())
    cache.path("net", 224).write_text(json.dumps(entry | {key: value}))
    assert cache.get("net", 224) is None and len(said) == 1 and "net is measured again" in said[0]


def test_other_conditions_have_other_entries(tmp_path, monkeypatch):
    plain = conditions("fused", 2, 1)
    others = [conditions("onnx", 2, 1), conditions("fused", 1, 1), conditions("fused", 2, 8)]
    monkeypatch.setenv("BLOCKS_KERNELS", "off")
    others += [conditions("fused", 2, 1)]
    for field, value in (("processor", "another"), ("cores", 99), ("versions", {"project": "0"})):
        others.append(dataclasses.replace(plain, **{field: value}))
    cache = Cache(plain, pytest.fail, tmp_path)
    cache.put("net", 224, latency(0.01))
    assert all(Cache(each, pytest.fail, tmp_path).get("net", 224) is None for each in others)
    assert Cache(plain, pytest.fail, tmp_path).get("net", 224) == latency(0.01)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    from zoo.errors import UserError

    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="Cannot write .*XDG_CACHE_HOME names another cache folder"):
        Cache(conditions("fused", 1, 1), pytest.fail, blocked).put("net", 224, latency(0.01))


def order_of_search(members, seconds, limit=None, asked=None, cache=None):
    """Names in the order in which a search measures them, and its outcome."""
    order, outcome = [], Outcome()

    def measure(model, size):
        order.append(model)
        return latency(seconds[model])

    search(members, cache, outcome, measure, asked, limit)
    return order, outcome


def test_the_most_accurate_that_multiply_accumulates_predict_to_pass_comes_first(tmp_path):
    members = [candidate(f"net{number}", top1=60 + number, macs=number * 100) for number in range(1, 10)]
    seconds = {each.model: each.macs / 1e5 for each in members}
    cache = Cache(conditions("fused", 1, 1), pytest.fail, tmp_path)
    order, outcome = order_of_search(members, seconds, asked=0.0062, cache=cache)
    assert order[:3] == ["net5", "net6", "net4"]  # the middle one to predict by, then the most accurate that can pass
    assert sorted(order) == sorted(seconds) and outcome.left == []  # and none is left out
    again, outcome = order_of_search(members, seconds, asked=0.0062, cache=cache)
    assert again == [] and outcome.measured == 0 and len(outcome.latencies) == 9
    assert next_network(networks(members), [], None) == ("net9", 224)


def test_what_a_limit_leaves_is_told(tmp_path):
    members = [candidate(f"net{number}", top1=60 + number, macs=number * 100) for number in range(1, 10)]
    seconds = {each.model: each.macs / 1e5 for each in members}
    cache = Cache(conditions("fused", 1, 1), pytest.fail, tmp_path)
    order, outcome = order_of_search(members, seconds, limit=2, asked=0.0062, cache=cache)
    assert len(order) == outcome.measured == 2
    (sentence,) = not_measured(members, outcome, 0.0062, interrupted=False)
    assert sentence == (
        "7 of 9 candidates are not measured, for --limit was reached, 3 of them predicted too slow by their"
        " multiply-accumulates."
    )
    assert "for the command was stopped" in not_measured(members, outcome, None, interrupted=True)[0]


def test_checkpoints_of_one_network_are_measured_once(tmp_path):
    members = [candidate("net", 70.0), candidate("net", 75.0, size=288), candidate("net", 71.0)]
    cache = Cache(conditions("fused", 1, 1), pytest.fail, tmp_path)
    order, _ = order_of_search(members, {"net": 0.01}, cache=cache)
    assert order == ["net", "net"]  # at two sizes


def test_a_network_that_fails_is_named_and_the_others_go_on(tmp_path):
    members = [candidate("good"), candidate("bad", top1=80.0)]
    outcome = Outcome()

    def measure(model, size):
        if model == "bad":
            raise ContenderError("The contender 'runtime' failed: ValueError: no such operation")
        return latency(0.01)

    search(members, Cache(conditions("fused", 1, 1), pytest.fail, tmp_path), outcome, measure)
    assert list(outcome.latencies) == [("good", 224)]
    assert not_measured(members, outcome, None, interrupted=False) == [
        "bad at 224 pixels is not measured: no such operation"
    ]


def test_ctrl_c_keeps_what_was_measured(tmp_path):
    members, outcome = [candidate("a", 80.0), candidate("b", 70.0)], Outcome()
    cache = Cache(conditions("fused", 1, 1), pytest.fail, tmp_path)

    def measure(model, size):
        if model == "b":
            raise KeyboardInterrupt
        return latency(0.01)

    with pytest.raises(KeyboardInterrupt):
        search(members, cache, outcome, measure)
    assert cache.get("a", 224) == latency(0.01) and list(outcome.latencies) == [("a", 224)]


def test_the_ranking_and_the_front_are_the_plain_definitions():
    chance = random.Random(0)
    for trial in range(30):
        members = [candidate(f"net{number}", top1=float(chance.randint(60, 66))) for number in range(9)]
        known = {(each.model, 224): latency(chance.randint(1, 6) / 1000) for each in members[:8]}
        answer = results(members, known, limit=0.004)
        seconds = {each.tag: known[each.model, 224].median for each in members[:8]}
        within = [each for each in members[:8] if seconds[each.tag] <= 0.004]
        for one in answer:
            expected = None
            if one.candidate in within:
                expected = 1 + sum(other.top1 > one.candidate.top1 for other in within)
            assert one.rank == expected, trial
            beaten = any(
                other.top1 >= one.candidate.top1
                and seconds[other.tag] <= seconds.get(one.tag, 0)
                and (other.top1, seconds[other.tag]) != (one.candidate.top1, seconds.get(one.tag))
                for other in members[:8]
            )
            assert one.on_front == (one.latency is not None and not beaten), trial
        ranks = [each.rank for each in answer if each.rank is not None]
        assert ranks == sorted(ranks) and answer[-1].latency is None
        for one, other in itertools.pairwise([each for each in answer if each.rank is not None]):
            assert (-one.candidate.top1, one.latency.median) <= (-other.candidate.top1, other.latency.median)


def test_nothing_is_fast_enough():
    answer = results([candidate("net")], {("net", 224): latency(0.01)}, limit=0.001)
    assert nothing_within(answer, "--latency 1ms", 0.001) == (
        "--latency 1ms excludes most, 1 of 1. The nearest is timm/net, with 10.00 ms (--latency 1ms), which passes all"
        " else."
    )


@pytest.mark.heavy
def test_a_network_is_measured_in_a_process_of_its_own():
    """A tiny one, and the process goes on after what it cannot do."""
    with Meter("fused", threads=1, batch=1) as meter:
        with pytest.raises(ContenderError, match="lcnet_36"):
            meter.measure("lcnet_36", 32)
        taken = meter.measure("lcnet_035", 32)
    assert 0 < taken.median <= taken.p90 and taken.timings >= 6 and 0 <= taken.others <= 1
