"""What the core does not know: linkers, builders, protocols, stores and engines, found by entry points."""
