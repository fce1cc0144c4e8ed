"""The rules a configuration has to follow, by area.

A rule of a document is a generator over its fields: it yields one text for each error, and a `Warn` for each warning.
Which documents it applies to stands in the `RULES` of its module.
"""
