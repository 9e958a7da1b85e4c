"""A server over an index: an HTTP API and the page, and the tools of MCP."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
