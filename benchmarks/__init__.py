"""Measurements: run by people, never by the test suite."""
