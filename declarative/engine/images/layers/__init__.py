"""Layers (image-spec, layer.md): a tar stream into a folder for overlayfs, and such a folder back into a stream.

The rule that keeps it simple: an archive is hostile until it is applied. It is parsed as a stream with limits, and every
name is walked one directory at a time from the layer's own folder, never handed to the kernel as a path.
"""
