"""What registers: test-time training, pairwise inference, losses, atlases."""
