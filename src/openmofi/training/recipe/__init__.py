"""Recipes: settings, reading, rules."""
