from .explain import Explanation as Explanation, explain as explain
from .job import label as label
from .label_settings import (
    LabelSettings as LabelSettings,
    SelectionSettings as SelectionSettings,
    TextSettings as TextSettings,
)
