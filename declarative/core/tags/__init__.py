"""Where tags point: reading versions, the levels they float on, and the one decision about every tag of a repository.

Pure throughout: text and mappings in, moves out. `scheme.settle` is the decision; everything else serves it.
"""
