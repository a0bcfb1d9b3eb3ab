"""Distillation of a student."""
