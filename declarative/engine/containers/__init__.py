"""Containers as the API knows them: records, life cycle, health, restarts."""
