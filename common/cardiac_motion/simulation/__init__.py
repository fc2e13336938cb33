"""Simulated ultrasound with exact motion: anatomy, motion, scatterers, image, artefacts, data sets."""
