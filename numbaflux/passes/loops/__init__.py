"""Passes over loops: each asks `passes/dependence.py` which iterations can meet in memory."""
