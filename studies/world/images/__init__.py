"""The artwork of the sample world: packages of icons, emoji, flags and logos, and the entities that they show."""
