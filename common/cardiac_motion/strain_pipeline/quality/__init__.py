"""What must hold before strain is given: view, orientation and checks; the choice of cines."""
