"""What `reelmill ask` suggests is a command that asks for the same render."""

import shlex
from itertools import pairwise

from service.commands.remote.questions import render_command
from service.commands.remote.render import request_fields

ID, DATASET = "0197a3c2-b1f0-7aa1-8c63-9e0d5a1f2b44", "0197a3c2-b1f0-7aa1-8c63-9e0d5a1f2b45"


def test_the_usual_fields_are_options_of_their_own() -> None:
    request = {"experiment_id": ID, "dataset_id": DATASET, "decimation_factor": 2, "fps": 30.0}
    assert render_command(request) == f"reelmill render --experiment {DATASET} --decimation 2 --fps 30"
    assert (
        render_command({"experiment_id": ID, "fps": 29.97002997})
        == f"reelmill render --experiment {ID} --fps 29.97002997"
    )


def test_other_fields_are_words_that_are_read_back() -> None:
    others = {"tone": {"mode": "full"}, "background": "12", "width": 640}
    words = shlex.split(render_command({"experiment_id": ID, "decimation_factor": 1, "fps": 10} | others))
    options = [word for before, word in pairwise(words) if before == "--option"]
    assert request_fields({"decimation_factor": 1, "fps": 10}, options) == {"decimation_factor": 1, "fps": 10} | others
