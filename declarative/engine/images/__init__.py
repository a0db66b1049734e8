"""Images as the engine keeps them: blobs by content, layers as folders for overlayfs.

The rule that keeps it simple: bytes are trusted after they were verified, and have their final name only then.
"""
