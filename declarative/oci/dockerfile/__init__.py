"""The language of Dockerfiles and of `.dockerignore`: lexing, expansion of variables, path patterns.

Pure text in, values out, shared by both halves: the tool reads a Dockerfile to know what a build needs, the engine to run it.
"""
