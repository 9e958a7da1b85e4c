from .api.checks import check_pairs as check_pairs
from .api.datasets import build_dataset as build_dataset
from .api.encoders import evaluate as evaluate, load_encoder as load_encoder, train as train
from .api.indexes import build_index as build_index, recognise as recognise
from .api.knowledge import build_kb as build_kb
from .api.labels import explain as explain, label as label
from .dataset.objects import Dataset as Dataset, Labels as Labels
from .encoders import Encoder as Encoder
from .errors import OpenMofiError as OpenMofiError
from .knowledge import KnowledgeBase as KnowledgeBase
from .labeling.explain import Explanation as Explanation
from .plugins.audit.commands import audit as audit
from .plugins.bases.diff import diff_kb as diff_kb
from .plugins.bases.export import export_kb as export_kb
from .plugins.bases.images import add_images as add_images
from .plugins.bases.sample import sample_kb as sample_kb
from .plugins.bases.union import union_kb as union_kb
from .plugins.dataset_export.commands import export_dataset as export_dataset
from .plugins.encoders.catalogue import list_encoders as list_encoders
from .plugins.encoders.comparison import compare_encoders as compare_encoders
from .plugins.encoders.speed import bench_encoders as bench_encoders
from .plugins.export.commands import export as export
from .plugins.fetch.commands import fetch as fetch
from .plugins.reinforcement.commands import reinforce as reinforce
from .search import Index as Index
from .training.run import Run as Run

__version__: str
