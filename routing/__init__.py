"""Softswitch call routing (ACD): pure decisions. Part of the project Softswitch."""
