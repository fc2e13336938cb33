"""The left ventricle: mesh, contours, beats, strain, Kalman filter, views."""
