"""Evaluation by the workers of a real Ray cluster on this machine: what one process answers, whoever dies.

The cluster starts once, with a head that does no work and a machine of two workers; the last test takes that
machine away. Takes 20 to 30 s, most of it workers that start.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from kit import build_folder
from tiny_models import make_model, make_tokenizer

from evaluation import distributed
from evaluation.distributed import Order, Team
from evaluation.models import ModelOptions, load_model
from evaluation.predictions import Kind, Prediction
from evaluation.requests import Demonstrations, PromptOptions, survey
from evaluation.runner import Job, evaluate
from optiml_bench.commands.eval import on_ray
from task_registry.bench import Bench
from task_registry.engines import Crash, Engine
from task_registry.engines.local import Serial
from task_registry.engines.ray import Ray
from task_registry.errors import BenchError, BenchFolderError, IncompleteError, ModelError, UsageError

TINY = ModelOptions("builtin:tiny-opt", dtype="float32", device="cpu")
PLAIN = PromptOptions(shots=(0, 2), max_new_tokens=6, limit=3)
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"


@dataclass
class Machines:
    """A cluster, the one machine of it that works, and an engine."""

    cluster: Any
    working: Any
    engine: Ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Any, Any]]:
    pytest.importorskip("ray", reason="ray is not installed")
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_worker_niceness", "0")  # among other tests, workers that stand back take long
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    # Ray hands out the GPUs that it is told of; nothing computes on them here.
    yield made, made.add_node(num_cpus=1, num_gpus=4)
    made.shutdown()


@pytest.fixture(scope="module")
def machines(cluster: tuple[Any, Any]) -> Iterator[Machines]:
    with Ray(2, address=cluster[0].address, cpus=0.5) as engine:
        yield Machines(*cluster, engine)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("sample") / "data"
    build_folder(None, folder, source=("flan", "superni"))
    return Bench.open(folder)


def job_of(bench: Bench, prompts: PromptOptions) -> Job:
    tasks = [survey(bench, built, prompts) for built in bench.tasks.values() if built.assignment.level]
    return Job(bench, tasks, prompts)


def order_of(bench: Bench, prompts: PromptOptions, model: ModelOptions = TINY) -> Order:
    return Order.of(str(bench.path), (), bench, model, prompts)


def team_of(engine: Engine, bench: Bench, prompts: PromptOptions, model: ModelOptions = TINY) -> Team:
    return Team(engine, "ray", order_of(bench, prompts, model), 2)


Answered = dict[int, Prediction]
Write = Callable[[Prediction], None]


def answered(ask: Callable[[Write], None]) -> Answered:
    """Predictions by key, each only once."""
    found: Answered = {}

    def write(prediction: Prediction) -> None:
        assert prediction.key.digest not in found
        found[prediction.key.digest] = prediction

    ask(write)
    return found


def at_first(act: Callable[[], None], write: Write) -> Write:
    """A `write` that does something before it writes the first time."""
    acts = [act]

    def writing(prediction: Prediction) -> None:
        while acts:
            acts.pop()()
        write(prediction)

    return writing


def alone(bench: Bench, prompts: PromptOptions, model: ModelOptions = TINY) -> Answered:
    """What one process answers."""
    return answered(lambda write: evaluate(load_model(model), job_of(bench, prompts), write))


def assert_same(found: Answered, expected: Answered) -> None:
    """Equal but for rounding in likelihoods, which may differ where batches do."""
    assert found.keys() == expected.keys()
    for key, one in found.items():
        other = expected[key]
        for name in ("option_logprobs", "option_unconditional"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-4)
            one, other = replace(one, **{name: ()}), replace(other, **{name: ()})
        assert one == other


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    """A model with a chat template, in a folder."""
    folder = tmp_path_factory.mktemp("models") / "chatty"
    make_model("opt").save_pretrained(folder)
    tokenizer = make_tokenizer("opt")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    tokenizer.chat_template = None
    return ModelOptions("chatty", device="cpu")


def gpus_seen(engine: Ray) -> set[str]:
    """What two workers see, once both have come."""

    def seen(_: int) -> str:  # travels by value: workers do not find a test's module
        time.sleep(0.3)
        return os.environ.get("CUDA_VISIBLE_DEVICES", "")

    found: set[str] = set()
    deadline = time.monotonic() + 60
    while len(found) < 2 and time.monotonic() < deadline:
        found |= {gpus for _, gpus in engine.map(seen, range(2))}
    return found


def test_each_model_has_gpus_of_its_own(cluster: tuple[Any, Any], bench: Bench) -> None:
    """Comes before the engine of the other tests: a process has one at a time."""
    order = order_of(bench, PLAIN, replace(TINY, device=None))
    with Ray(2, address=cluster[0].address, cpus=0.5) as engine:
        assert on_ray(order_of(bench, PLAIN), engine, None) == (order_of(bench, PLAIN), 2)
        assert engine.gpus == 0, "--device cpu leaves them alone"
        assert on_ray(order, engine, None) == (order, 2)
        assert engine.gpus == 1
        engine.gpus = 2
        spread, _ = on_ray(order, engine, 2)
        assert spread.model.device_map == "auto"
        assert gpus_seen(engine) == {"0,1", "2,3"}
        engine.count = None
        assert on_ray(order, engine, 2)[1] == 2


@pytest.mark.parametrize(
    "prompts",
    [
        replace(PLAIN, shots=(0, 1, 2), demonstration_seeds=(1, 2), unconditional=True),
        replace(PLAIN, shots=(2,), demonstrations=Demonstrations.PER_EXAMPLE, limit=None, explanations=True),
    ],
    ids=["seeds", "per-example"],
)
def test_workers_answer_as_one_process(machines: Machines, bench: Bench, prompts: PromptOptions) -> None:
    team = team_of(machines.engine, bench, prompts)
    found = answered(lambda write: team.evaluate(job_of(bench, prompts), write))
    assert {p.kind for p in found.values()} == {Kind.OPTIONS, Kind.TEXT}
    assert_same(found, alone(bench, prompts))
    assert 1 <= team.workers <= 2


def test_a_chat_model_in_a_folder_that_is_named_relatively(
    machines: Machines, bench: Bench, chatty: ModelOptions, tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Workers have another working folder."""
    monkeypatch.chdir(next(tmp_path_factory.getbasetemp().glob("models*")))
    prompts = replace(PLAIN, chat_template=True, limit=1)
    team = team_of(machines.engine, bench, prompts, chatty)
    found = answered(lambda write: team.evaluate(job_of(bench, prompts), write))
    assert_same(found, alone(bench, prompts, chatty))


def test_a_killed_worker_is_replaced_and_its_unit_asked_again(machines: Machines, bench: Bench) -> None:
    def process(_: int) -> int:  # by value, as above
        time.sleep(0.3)
        return os.getpid()

    pids = {pid for _, pid in machines.engine.map(process, range(2))}
    team = team_of(machines.engine, bench, PLAIN)

    def kill_one() -> None:
        os.kill(pids.pop(), signal.SIGKILL)

    found = answered(lambda write: team.evaluate(job_of(bench, PLAIN), at_first(kill_one, write)))
    assert_same(found, alone(bench, PLAIN))


@pytest.mark.parametrize(
    ("model", "prompts", "error", "message"),
    [
        (ModelOptions("/nowhere/model", device="cpu"), PLAIN, ModelError, "/nowhere/model"),
        (replace(TINY, device="cuda:7"), PLAIN, ModelError, "cuda:7"),
        (TINY, replace(PLAIN, max_new_tokens=2048), UsageError, "leaves no room"),
        (TINY, replace(PLAIN, chat_template=True), ModelError, "no chat template"),
    ],
    ids=["missing", "device", "length", "chat"],
)
def test_a_model_that_a_worker_cannot_use_is_one_line(
    machines: Machines,
    bench: Bench,
    model: ModelOptions,
    prompts: PromptOptions,
    error: type[BenchError],
    message: str,
) -> None:
    with pytest.raises(error, match=message) as raised:
        team_of(machines.engine, bench, prompts, model)
    assert "\n" not in str(raised.value)


def test_another_model_or_bench_on_a_worker_is_refused(machines: Machines, bench: Bench) -> None:
    team = team_of(machines.engine, bench, PLAIN)
    elsewhere = replace(team.introduction.model, dtype="bfloat16")
    team.introduction = replace(team.introduction, model=elsewhere, host="node7")
    with pytest.raises(
        ModelError, match=r'^\S+: the model has dtype "float32", not "bfloat16" as on node7; '
    ):
        team.evaluate(job_of(bench, PLAIN), lambda _: pytest.fail("an answer"))
    other = Team(machines.engine, "ray", replace(order_of(bench, PLAIN), digest="d7"), 2)
    with pytest.raises(BenchFolderError, match="expected d7; every machine must see the same bench"):
        other.evaluate(job_of(bench, PLAIN), lambda _: pytest.fail("an answer"))


class Unlucky(Serial):
    """An engine whose workers die over every unit from the second on."""

    def map(self, function: Callable[[Any], Any], specs: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        for number, (spec, outcome) in enumerate(super().map(function, specs)):
            yield spec, Crash("its worker died 3 times") if number else outcome


def test_units_without_an_answer_are_told_and_asked_by_the_next_run(bench: Bench) -> None:
    job, found = job_of(bench, PLAIN), {}
    team = team_of(Unlucky(), bench, PLAIN)

    def write(prediction: Prediction) -> None:
        found[prediction.key.digest] = prediction

    with pytest.raises(IncompleteError, match=r"^(\d+) prompts have no answer.*its worker died 3") as raised:
        team.evaluate(job, write)
    total = sum(task.count(PLAIN) for task in job.tasks)
    assert 0 < len(found) == total - int(str(raised.value).split()[0])
    rest = answered(
        lambda write: team_of(Serial(), bench, PLAIN).evaluate(replace(job, done=set(found)), write)
    )
    assert_same(found | rest, alone(bench, PLAIN))


def test_a_worker_whose_gpu_no_longer_answers_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fail at all that is left, faster than others answer it."""
    order = order_of(bench, PLAIN)
    faulty: Any = (order, None, None)
    with pytest.raises(AttributeError):
        distributed.ask(faulty)
    monkeypatch.setattr("evaluation.huggingface.device.is_lost", lambda: True)
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail(f"ended with {code}"))
    with pytest.raises(pytest.fail.Exception, match="ended with 1"):
        distributed.ask(faulty)


def test_an_estimate_is_measured_by_a_worker(machines: Machines, bench: Bench) -> None:
    job = job_of(bench, PLAIN)
    found = team_of(machines.engine, bench, PLAIN).estimate(job)
    assert found.scored + found.generated == sum(task.count(PLAIN) for task in job.tasks)
    assert found.seconds > 0


def test_machines_come_and_go(machines: Machines, bench: Bench) -> None:
    """While a run is under way another machine joins, and the only one that worked is lost."""
    team = team_of(machines.engine, bench, PLAIN)

    def move() -> None:
        machines.cluster.add_node(num_cpus=1)
        machines.cluster.remove_node(machines.working, allow_graceful=False)

    found = answered(lambda write: team.evaluate(job_of(bench, PLAIN), at_first(move, write)))
    assert_same(found, alone(bench, PLAIN))
    assert team.workers >= 2
