"""What builds a knowledge base: the steps that all builders share, and one builder a source."""
