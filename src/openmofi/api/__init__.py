"""The front door: what `import openmofi` gives, and what the command line calls; a file a family.

Every function takes paths or opened objects, and raises `OpenMofiError` with a sentence and a hint. It opens what it
was given by name and calls the room that does the work. Its settings are a dataclass: `settings` gives all of them,
and each field is a keyword of its own, as in `openmofi.label(…, threshold=0.9)`; signature and docstring are made of
the fields (`openmofi.config.options`), and so are the options of the command.
"""
