"""The files of a knowledge base: arrays, tries, languages, relations; whether they are whole."""
