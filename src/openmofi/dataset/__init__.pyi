from .build import build_dataset as build_dataset
from .dataset_settings import DatasetSettings as DatasetSettings
from .evaluation_sets import Exclusion as Exclusion
from .report.report import ReportSection as ReportSection, write_report as write_report
from .collect import Statistics as Statistics, read_statistics as read_statistics
