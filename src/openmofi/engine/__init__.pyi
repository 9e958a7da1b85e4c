from .engines import engine_named as engine_named
from .loop import LocalEngine as LocalEngine
from .protocol import (
    Engine as Engine,
    EngineKind as EngineKind,
    Job as Job,
    Progress as Progress,
    Quiet as Quiet,
    WorkFactory as WorkFactory,
)
from .status import recorded as recorded
