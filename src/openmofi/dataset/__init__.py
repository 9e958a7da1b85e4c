"""The labelled dataset: filters, class vocabulary, statistics, audit, report. Refers to images, never copies them."""

from openmofi.dataset.audit.audit import Audit, audit
from openmofi.dataset.build import build_dataset
from openmofi.dataset.exclusion.sets import Exclusion
from openmofi.dataset.filters import DatasetSettings, parse_near_duplicates
from openmofi.dataset.report.report import ReportSection, write_report
from openmofi.dataset.statistics import Statistics, read_statistics

__all__ = [
    "Audit",
    "DatasetSettings",
    "Exclusion",
    "ReportSection",
    "Statistics",
    "audit",
    "build_dataset",
    "parse_near_duplicates",
    "read_statistics",
    "write_report",
]
