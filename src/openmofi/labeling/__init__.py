"""Which entities an image shows: calibration, light heads, selection; joins the stages into the label job."""

from openmofi.labeling.explain import Explanation, explain
from openmofi.labeling.job import label
from openmofi.labeling.label_settings import LabelSettings, SelectionSettings, TextSettings

__all__ = ["Explanation", "LabelSettings", "SelectionSettings", "TextSettings", "explain", "label"]
