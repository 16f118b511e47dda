"""The blocking client in a script: sequences of frames, arrays, notebooks and threads, against a real service."""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from reelmill import Dataset, NotFound, Reelmill, RenderFailed
from tests.support.data import media
from tests.support.processes.api import make_dataset
from tests.support.processes.running_service import RunningService
from tests.support.servers.s3_server import ANY_STORE

FRAMES = {f"f{number:02d}.tif": media.tiff(np.full((32, 48), 1000 * number, np.uint16)) for number in range(9)}


@pytest.fixture(scope="module")
def mill(start_service: Callable[[str], RunningService]) -> Iterator[Reelmill]:
    service = start_service(ANY_STORE)
    with Reelmill(
        service.url, token=service.token("script", ("catalog:read", "catalog:write", "videos:read", "videos:render"))
    ) as mill:
        yield mill


@pytest.fixture(scope="module")
def camera(mill: Reelmill, start_service: Callable[[str], RunningService]) -> Dataset:
    with start_service(ANY_STORE).client("script") as client:
        return mill.dataset(make_dataset(client, FRAMES)["id"])


def test_a_dataset_is_a_sequence(camera: Dataset) -> None:
    assert len(camera) == 9 and camera[-1].index == 8 and [frame.index for frame in camera[2:8:3]] == [2, 5]
    assert [int(frame.array()[0, 0]) for frame in camera] == [1000 * number for number in range(9)]
    assert [frame.index for frame in camera[::-1]][:2] == [8, 7] and len(camera[100:]) == 0
    with pytest.raises(IndexError):
        camera[9]
    assert camera[1] == camera[1] and camera != camera[0] and camera[0].captured is None


def test_a_stack_is_an_array_that_reads_what_is_indexed(camera: Dataset) -> None:
    stack = camera[1:].stack()
    assert (stack.shape, stack.dtype, stack.ndim, len(stack)) == ((8, 32, 48), np.uint16, 3, 8)
    whole = np.asarray(stack)
    for key in (
        0,
        -1,
        slice(2, 5),
        (slice(None), 3),
        (slice(0, 4, 2), slice(1, 3), slice(None, 5)),
        ...,
        (..., 7),
        (2, 1, 1),
    ):
        assert np.array_equal(stack[key], whole[key]), key
    assert whole[:, 0, 0].tolist() == [1000 * number for number in range(1, 9)]


def test_a_render_shows_itself_in_a_notebook(camera: Dataset) -> None:
    render = camera.render(fps=9, tone="full")
    assert render.job_id in render._repr_html_() or "<video" in render._repr_html_()
    render.wait(60)
    page = render._repr_html_()
    assert (
        page.startswith("<video controls")
        and "data:video/mp4;base64," in page
        and "data:image/jpeg;base64,/9j/" in page
    )
    assert render.frame(3)._repr_png_()[:4] == b"\x89PNG"
    assert isinstance(render.receipt, list) and render.receipt.summary["frames"] == 9
    render.delete()


def test_what_fails_says_why(mill: Reelmill, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no experiment named nowhere"):
        mill.experiments.get("nowhere")
    (tmp_path / "a.jpg").write_bytes(media.jpeg(media.numbered_picture(1)))
    (tmp_path / "b.jpg").write_bytes(media.jpeg(media.numbered_picture(2))[:200])
    experiment = mill.experiments.create("cut short")
    dataset = experiment.datasets.create("frames")
    assert dataset.upload(tmp_path).uploaded == 2
    with pytest.raises(RenderFailed, match="the render failed: frame 1: ") as caught:
        dataset.render(corrupt="fail").wait(60)
    assert caught.value.status["status"] == "failed"
    assert experiment.delete().renders == 1


def test_many_threads_share_a_client(camera: Dataset) -> None:
    found = list[int]()

    def work(index: int) -> None:
        found.append(int(camera[index].array()[0, 0]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [1000 * number for number in range(9)]


def test_forked_processes_have_connections_of_their_own(camera: Dataset) -> None:
    """As the workers of PyTorch's DataLoader, which inherit the client."""
    assert camera[0].array().shape == (32, 48)
    results = multiprocessing.get_context("fork").SimpleQueue()

    def work(index: int) -> None:
        results.put(int(camera[index].array()[0, 0]))

    processes = [multiprocessing.get_context("fork").Process(target=work, args=(index,)) for index in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        process.kill()
    assert sorted(results.get() for process in processes if process.exitcode == 0) == [0, 1000, 2000]
    assert camera[1].array()[0, 0] == 1000, "the parent's connections are whole"


def test_a_loop_that_is_left_ends_its_work(mill: Reelmill, camera: Dataset) -> None:
    for frame in camera:
        frame.array()
        break
    for experiment in mill.experiments.list():
        assert experiment.name
        break
    assert camera[0].array().shape == (32, 48)
