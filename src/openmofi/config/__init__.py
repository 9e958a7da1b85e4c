"""Settings: dataclasses whose constraints stand at the field, read from YAML and `KEY=VALUE`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
