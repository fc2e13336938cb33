"""Trainers, data sets and records of trainings."""
