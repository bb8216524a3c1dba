"""The few whole jobs, each a stream of events: what the window, the command line and the tests call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aegui import imaging
from aegui.data.labels import folder_labels, read_labels
from aegui.data.pairs import Pair, match_pairs, require_pairs
from aegui.data.proposals import Proposal, confirmed_again, propose
from aegui.data.scanner import Match, match_scanner
from aegui.events import Events
from aegui.models import cards
from aegui.workflow.adapt import TrainJob, learning_from, train
from aegui.workflow.batch import DenoiseJob, Report, SeriesResult, denoise, planned, preview, uncertainty
from aegui.workflow.judge import FORMATS, Evaluation, evaluate, export
from aegui.workflow.outlook import forecast
from aegui.workflow.problems import Problem, check
from aegui.workflow.race import RaceResult, RaceRow, race
from aegui.workflow.rate import find_rate
from aegui.workflow.runs import Difference, RunInfo, result_of, run_differences, runs, scratch_job

__all__ = [
    "FORMATS",
    "DenoiseJob",
    "Difference",
    "Evaluation",
    "Match",
    "Pair",
    "Problem",
    "Proposal",
    "RaceResult",
    "RaceRow",
    "Report",
    "RunInfo",
    "SeriesResult",
    "TrainJob",
    "cards",
    "check",
    "confirmed_again",
    "denoise",
    "evaluate",
    "export",
    "find_rate",
    "folder_labels",
    "forecast",
    "learning_from",
    "match_pairs",
    "match_scanner",
    "planned",
    "preview",
    "propose",
    "race",
    "read_labels",
    "require_pairs",
    "result_of",
    "run_differences",
    "runs",
    "scan",
    "scratch_job",
    "train",
    "uncertainty",
]


def scan(folders: Sequence[Path]) -> Events:
    """Find series in folders, files and zips. Done(ScanResult)."""
    return imaging.scan(folders)
