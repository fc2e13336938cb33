"""Ultrasound of moving scatterers: speckle, images, artefacts and recording."""
