"""Flow that is read from velocity fields: derivatives, vortices, energy, stream lines; of blood, and of any fluid."""
