"""Wheels for boards that are not this machine: compiler, headers and libraries of the targets, and their checks."""
