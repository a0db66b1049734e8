"""The builder: a Dockerfile as typed instructions, a graph of stages, and the images they make."""
