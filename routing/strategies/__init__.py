"""Criteria, orders and presets."""
