"""The sample world: real images and names from package registries, with known truth."""

PROTOCOLS = {
    "sample-retrieval": (
        "studies.world.sample_retrieval",
        "the sample world's held-out entities: retrieval and zero-shot",
    ),
}
"""Name → (module, description in one line)."""
