"""The commands that ask a service, as a user types them: names, ids and addresses, tables and JSON, pipes and exit codes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from reelmill import Reelmill
from service.client.addresses import Address
from tests.support.data.footage import frame_jpeg
from tests.support.processes import command
from tests.support.processes.api import make_dataset
from tests.support.processes.clean_environment import clean_environment
from tests.support.processes.running_service import SCOPES, RunningService
from tests.support.source_code import ROOT

FRAMES = {f"f{number}.jpg": frame_jpeg(number) for number in range(6)}
Run = Callable[..., "CompletedProcess[str]"]


@pytest.fixture(scope="module")
def dataset(service: RunningService) -> dict[str, Any]:
    """Of nobody else's experiment "plate 3"."""
    with service.client("typist") as client:
        made = make_dataset(client, FRAMES)
        path = f"/api/experiments/{made['experiment_id']}"
        etag = client.get(path).headers["ETag"]
        client.patch(path, json={"name": "plate 3"}, headers={"If-Match": etag}).raise_for_status()
    return made


@pytest.fixture
def address(service: RunningService) -> Address:
    return Address(service.url, service.token("typist", (*SCOPES, "query:run", "agent:ask", "ops:read")))


@pytest.fixture
def run(address: Address, dataset: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run `reelmill`, which must succeed, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    with clean_environment(REELMILL_URL=address.url, REELMILL_TOKEN=address.token):

        def run(*words: str, code: int = 0) -> "CompletedProcess[str]":
            done = command.run_command(*words)
            assert done.returncode == code, done.stdout + done.stderr
            return done

        yield run


def test_a_dataset_by_name_id_and_address(run: Run, dataset: dict[str, Any], address: Address) -> None:
    names = ["plate 3", f"plate 3/{dataset['name']}", dataset["id"], f"{address.url}/api/datasets/{dataset['id']}"]
    names += [f"{address.url}/#/datasets/{dataset['id']}?frame=3"]
    for name in names:
        rows = json.loads(run("frames", name, "--json").stdout)
        assert [row["index"] for row in rows] == list(range(6)), name
    for name, reason in (("plate 4", "no experiment named plate 4"), ("plate 3/none", "no dataset named none")):
        assert reason in run("frames", name, code=1).stderr


def test_lists_are_tables_for_people_and_json_for_programs(run: Run, dataset: dict[str, Any]) -> None:
    assert "plate 3" in run("ls").stdout
    assert [row["name"] for row in json.loads(run("ls", "--json").stdout)].count("plate 3") == 1
    table = run("ls", "plate 3").stdout.splitlines()
    assert table[0].split()[:3] == ["name", "kind", "state"] and dataset["id"] in table[1]
    assert len(run("ls", "plate 3/" + dataset["name"]).stdout.splitlines()) == 7
    some = run("ls", "plate 3/" + dataset["name"], "--limit", "4")
    assert len(some.stdout.splitlines()) == 5
    assert some.stderr == f"… and 2 more: reelmill frames 'plate 3/{dataset['name']}'\n"
    assert len(run("frames", "plate 3", "--start", "2", "--limit", "2").stdout.splitlines()) == 3
    nothing = run("frames", "plate 3", "--unreadable")
    assert (nothing.stdout, nothing.stderr) == ("", "there are no such frames\n")
    assert json.loads(run("show", dataset["id"], "--json").stdout)["frame_count"] == 6
    assert "frame count" in run("show", f"plate 3/{dataset['name']}").stdout
    assert run("workers").stdout.splitlines()[0].split()[:2] == ["id", "name"]
    assert isinstance(json.loads(run("devices", "--json").stdout), list)
    assert json.loads(run("dead-letters", "--json").stdout) == []


def test_the_life_of_a_render(run: Run, dataset: dict[str, Any], address: Address, tmp_path: Path) -> None:
    rendered = run("render", "--experiment", "plate 3", "--fps", "7", "-o", "a.mp4")
    video = (tmp_path / "a.mp4").read_bytes()
    (made,) = json.loads(run("renders", "--experiment", "plate 3", "--mine", "--json").stdout)
    job = made["job_id"]
    assert made["status"] == "succeeded" and job in run("renders", "--status", "succeeded").stdout
    assert f"render {job}\n" in rendered.stderr
    refused = run("cancel", "00000000", job, "latest", code=1).stderr.splitlines()
    assert len(refused) == 3 and refused[1].startswith(f"reelmill: {job}: "), refused
    run("get", job, "-o", "b.mp4")
    run("get", f"{address.url}/api/videos/{job}/video", "-o", "c.mp4")
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "c.mp4").read_bytes() == video
    assert len(run("get", job, "receipt", "-o", "-").stdout.splitlines()) == 7
    run("get", job, "5", "-o", "last.png")
    run("get", job, "poster")
    assert (tmp_path / "last.png").read_bytes()[:4] == b"\x89PNG" and (tmp_path / f"{job}.jpg").read_bytes()[
        :2
    ] == b"\xff\xd8"
    assert not list(tmp_path.glob(".*.part"))
    assert (
        "no output frame 6" in run("get", job, "6", "-o", "none.png", code=2).stderr
        and not (tmp_path / "none.png").exists()
    )
    assert f"/api/videos/{job}/video" in run("watch", job).stdout
    assert json.loads(run("watch", job, "--json").stdout)["frames_done"] == 6
    assert json.loads(run("show", job, "--json").stdout)["request"]["fps"] == 7
    assert json.loads(run("rm", job, "--yes", "--json").stdout)["renders"] == 1
    assert "no " in run("show", job, code=1).stderr


def test_the_beginning_of_several_ids_and_the_addresses_of_lists(
    run: Run, dataset: dict[str, Any], address: Address
) -> None:
    with Reelmill(address.url, token=address.token) as mill:
        jobs = [mill.dataset(dataset["id"]).render(fps=fps).id for fps in (11, 12)]
    for words in (("show",), ("rm", "-y"), ("watch",)):
        refused = run(*words, jobs[0][:4], code=1).stderr
        assert f"renders begin with {jobs[0][:4]}: write more of it" in refused
    listed = run("renders", "--experiment", f"{address.url}/#/renders?dataset_id={dataset['id']}", "--json").stdout
    assert {job["job_id"] for job in json.loads(listed)} == set(jobs)
    for job in jobs:
        run("rm", job, "--force", "-y")


def test_presets_are_listed_shown_and_deleted(run: Run, address: Address) -> None:
    with Reelmill(address.url, token=address.token) as mill:
        small = mill.presets.create("small", options={"width": 64}, visibility="public")
    assert run("presets").stdout.splitlines()[0].split() == ["name", "options", "owner", "visibility", "id"]
    assert '{"width": 64}' in run("presets", "--mine").stdout
    assert [row["name"] for row in json.loads(run("presets", "--json").stdout)].count("small") == 1
    for name in ("small", small.id, f"{address.url}/api/presets/{small.id}"):
        assert json.loads(run("show", name, "--json").stdout)["options"] == {"width": 64}
    assert json.loads(run("rm", "small", "--yes", "--json").stdout) == {"presets": 1}
    missing = run("show", "small", code=1).stderr
    assert "no experiment, dataset, render, preset or schedule named small" in missing
    assert run("presets", "--mine").stderr == "there are no such presets\n"


def test_the_life_of_a_schedule(run: Run, dataset: dict[str, Any], address: Address) -> None:
    with Reelmill(address.url, token=address.token) as mill:
        request = mill.dataset(dataset["id"]).render_request(fps=9)
        daily = mill.schedules.create("daily", cron="30 6 * * *", request=request)
    assert "daily has not run yet" in run("schedules", "runs", "daily").stderr
    assert run("schedules", "run", "daily").stdout.startswith("run 1 of daily: submitted ")
    again = json.loads(run("schedules", "run", f"{address.url}/api/schedules/{daily.id}", "--json").stdout)
    assert (again["number"], again["joined"]) == (2, True)
    head, row = run("schedules", "--experiment", "plate 3").stdout.splitlines()
    assert "next run at" in head and "last run at" in head and "joined" in row and daily.id in row
    assert json.loads(run("schedules", "--json").stdout)[0]["last_run"]["job_id"] == again["job_id"]
    runs = run("schedules", "runs", "daily").stdout.splitlines()
    assert len(runs) == 3 and again["job_id"] in runs[1] and "submitted" in runs[2]
    assert len(json.loads(run("schedules", "runs", daily.id, "--limit", "1", "--json").stdout)) == 1
    assert run("schedules", "off", "daily").stdout == "daily is off\n" and " off " in run("schedules").stdout
    assert json.loads(run("schedules", "on", "daily", "--json").stdout)["enabled"] is True
    assert json.loads(run("show", "daily", "--json").stdout)["run_count"] == 2
    assert json.loads(run("rm", daily.id, "--yes", "--json").stdout) == {"schedules": 1}
    assert run("schedules").stderr == "there are no such schedules\n"
    assert "no schedule named daily" in run("schedules", "run", "daily", code=1).stderr


def test_a_run_that_is_refused_says_why(run: Run, dataset: dict[str, Any], address: Address) -> None:
    with Reelmill(address.url, token=address.token) as mill:
        request = mill.dataset(dataset["id"]).render_request(frames={"start": 100})
        mill.schedules.create("late", cron="0 6 * * *", request=request)
    assert "#/" in run("schedules", "run", "late", code=2).stderr
    assert "refused" in run("schedules", "runs", "late").stdout
    run("rm", "late", "--yes")


def test_a_name_that_several_things_have(run: Run, dataset: dict[str, Any], address: Address) -> None:
    """Nothing is deleted by a name that may mean something else; presets of others do not count."""
    with Reelmill(address.url, token=address.token) as mill:
        preset = mill.presets.create("plate 3", options={"width": 64})
    refused = run("rm", "plate 3", "--yes", code=1).stderr
    assert f"the experiment {dataset['experiment_id']}, the preset {preset.id}" in refused
    run("rm", preset.id, "--yes")
    assert json.loads(run("show", "plate 3", "--json").stdout)["id"] == dataset["experiment_id"]


def test_a_dataset_is_followed(run: Run, dataset: dict[str, Any]) -> None:
    assert run("follow", "plate 3").stdout == f"{dataset['name']} is followed\n"
    assert json.loads(run("show", dataset["id"], "--json").stdout)["followed"] is True
    assert json.loads(run("follow", dataset["id"], "--off", "--json").stdout)["followed"] is False
    assert run("follow", "plate 3", "--off").stdout == f"{dataset['name']} is not followed\n"


def answer_removal(answer: str | None) -> tuple[int, str]:
    """Exit code and stderr of `reelmill rm`, which is answered so, or with Ctrl-C."""
    words = [sys.executable, "-m", "service", "rm", "plate 3"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=environment, text=True, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        errors = ""
        assert process.stderr is not None
        while "[y/N]: " not in errors and process.poll() is None:
            errors += process.stderr.read(1)
        if answer is None:
            process.send_signal(signal.SIGINT)
        rest = process.communicate(answer, timeout=60)[1]
    return process.returncode, errors + rest


def test_deleting_is_asked_for(run: Run, dataset: dict[str, Any]) -> None:
    asked = run("rm", "plate 3", code=1).stderr
    assert f"delete the experiment plate 3 ({dataset['experiment_id']}) of typist with 1 dataset, all renders" in asked
    assert "nothing was deleted: there was no answer" in asked and "Traceback" not in asked
    assert "no experiment" in run("rm", "plate 4", code=1).stderr, "it is looked up before the question"
    for answer, code, said in (("n\n", 1, "nothing was deleted"), (None, 130, "")):
        done, errors = answer_removal(answer)
        assert (done, "Traceback" in errors) == (code, False) and said in errors, errors
    assert "plate 3" in run("ls").stdout


def test_wrong_words(run: Run) -> None:
    for words, reason in (
        (("register", "plates/", "--experiment", "e"), "write s3://bucket/prefix/"),
        (("get", "0" * 8, "sound"), "video, receipt, poster"),
        (("query", "frames", "index"), "write column=value"),
        (("query", "frames", "index__near=3"), "no operator near"),
    ):
        assert reason in " ".join(run(*words, code=2).stderr.split())
    assert "no render whose id begins with 00000000" in run("watch", "00000000", code=1).stderr
    assert "no id of a render" in run("watch", "latest", code=1).stderr


def test_questions(run: Run, dataset: dict[str, Any]) -> None:
    rows = json.loads(
        run(
            "query", "frames", f"dataset_id={dataset['id']}", "index__in=[1,4]", "--order-by", "-index", "--json"
        ).stdout
    )
    assert [row["index"] for row in rows] == [4, 1]
    others = ("index__ne=3", "index__ne=4", f"dataset_id={dataset['id']}", "--order-by", "index", "--json")
    assert [row["index"] for row in json.loads(run("query", "frames", *others).stdout)] == [0, 1, 2, 5]
    table = run("query", "frames", f"dataset_id={dataset['id']}", "--column", "index", "--column", "key").stdout
    assert table.splitlines()[0].split() == ["index", "key"] and len(table.splitlines()) == 7
    assert "frames" in run("query").stdout
    assert run("ask", "how many experiments are there?").stdout.strip()


def test_frames_of_a_bucket_that_is_not_open(run: Run) -> None:
    refused = run("register", "s3://elsewhere/plates/", "--experiment", "plate 9", code=2)
    assert "#/bucket" in refused.stderr and "MINIO_SOURCES" in refused.stderr
