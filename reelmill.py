"""The client of Reelmill, for scripts and notebooks: `from reelmill import Reelmill`. See docs/client.md."""

from service.client.automation.presets import AsyncPreset, AsyncPresets
from service.client.automation.schedules import AsyncSchedule, AsyncScheduleRun, AsyncSchedules
from service.client.blocking.datasets import Dataset
from service.client.blocking.experiments import Datasets, Experiment, Experiments
from service.client.blocking.frames import Frame, Frames
from service.client.blocking.mill import Reelmill
from service.client.blocking.presets import Preset, Presets
from service.client.blocking.queries import Query
from service.client.blocking.renders import Render, Renders
from service.client.blocking.schedules import Schedule, ScheduleRun, Schedules
from service.client.datasets import AsyncDataset
from service.client.errors import (
    Busy,
    Conflict,
    DownloadDiffers,
    FolderError,
    Invalid,
    Misconfigured,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    ReelmillError,
    Refused,
    RenderFailed,
    UnexpectedAnswer,
    Unreachable,
)
from service.client.experiments import AsyncDatasets, AsyncExperiment, AsyncExperiments
from service.client.files.uploads import UploadResult
from service.client.frames import AsyncFrame, AsyncFrames
from service.client.mill import AsyncReelmill
from service.client.queries import AsyncQuery, Question
from service.client.receipts import Receipt
from service.client.renders import AsyncRender, AsyncRenders, OutputFrame

__all__ = [
    "AsyncDataset",
    "AsyncDatasets",
    "AsyncExperiment",
    "AsyncExperiments",
    "AsyncFrame",
    "AsyncFrames",
    "AsyncPreset",
    "AsyncPresets",
    "AsyncQuery",
    "AsyncReelmill",
    "AsyncRender",
    "AsyncRenders",
    "AsyncSchedule",
    "AsyncScheduleRun",
    "AsyncSchedules",
    "Busy",
    "Conflict",
    "Dataset",
    "Datasets",
    "DownloadDiffers",
    "Experiment",
    "Experiments",
    "FolderError",
    "Frame",
    "Frames",
    "Invalid",
    "Misconfigured",
    "NotAuthenticated",
    "NotFound",
    "NotPermitted",
    "OutputFrame",
    "Preset",
    "Presets",
    "Query",
    "Question",
    "Receipt",
    "Reelmill",
    "ReelmillError",
    "Refused",
    "Render",
    "RenderFailed",
    "Renders",
    "Schedule",
    "ScheduleRun",
    "Schedules",
    "UnexpectedAnswer",
    "Unreachable",
    "UploadResult",
]
