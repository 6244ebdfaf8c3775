"""Repositories and the journal."""
