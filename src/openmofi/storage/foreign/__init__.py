"""Reading what others made: files are data, and no code, option or address in them is followed unread."""

from openmofi.storage.foreign.guard import allowed_options, guarded, network_allowed, require_inside

__all__ = ["allowed_options", "guarded", "network_allowed", "require_inside"]
