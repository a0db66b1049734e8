"""What a build reads: the context as `.dockerignore` leaves it, the Dockerfile, and the key that both add up to."""
