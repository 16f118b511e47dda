"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]
Force = Annotated[bool, typer.Option("--force", help="also renders that are under way")]
Job = Annotated[str, typer.Argument(help="id of a render, the beginning of one, or its address", metavar="JOB")]
Jobs = Annotated[
    list[str], typer.Argument(help="ids of renders, the beginnings of some, or addresses", metavar="JOB...")
]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="file to write; - is stdout")]
Dataset = Annotated[
    str, typer.Argument(help="EXPERIMENT/DATASET, id or address; an experiment with one dataset", metavar="DATASET")
]
What = Annotated[
    str,
    typer.Argument(help="an experiment, EXPERIMENT/DATASET, a render, a preset or a schedule: name, id or address"),
]
